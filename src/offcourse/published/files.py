"""The files that each rule of the authors' release makes, below `results/published/`, and the code behind it.

Imports nothing that draws: the workflow asks for these names each time it starts. Made in `published.pages`.
"""

from pathlib import Path

from offcourse.graph import catalogue
from offcourse.graph.release_rules import NAME, TARGETS, parameters_of
from offcourse.published.figures import figure_files
from offcourse.published.release import Release, all_models
from offcourse.store.fingerprint import fingerprint, script_digest
from offcourse.tables.writing import SUFFIXES


def outputs(release: Release, rule: str) -> list[Path]:
    """The files of a rule, without its record."""
    results = release.layout.results
    if rule == "published_models":
        return [results / name / "model.json" for name in all_models(release)]
    if rule == "published_table3":
        return _tables(results, [3])
    if rule == "published_tables_dola":
        return _tables(results, list(catalogue.DOLA_TABLES))
    if rule == "published_sensitivity":
        return [results / "tables" / f"sensitivity.{suffix}" for suffix in ("parquet", "csv", "md")]
    if rule == "published_comparison":
        return comparison_files(results)
    if rule == "published_report":
        return [results / "report.html"]
    if rule == "published_tables_facts":
        return _tables(results, list(catalogue.FACT_TABLES))
    return figure_files(release)


def comparison_files(results: Path) -> list[Path]:
    """The files of a comparison: beside the folder of tables for the release, among its tables for a study."""
    folder = results if results.name == NAME else results / "tables"
    return [folder / "comparison.parquet", folder / "comparison.csv"]


def _tables(results: Path, numbers: list[int]) -> list[Path]:
    return [results / "tables" / f"table{number}.{suffix}" for number in numbers for suffix in SUFFIXES]


def code_of(rule: str) -> str:
    """Digest of the code behind a rule and of its script, and what else it reads."""
    return " ".join([fingerprint(TARGETS[rule]), script_digest(rule), *parameters_of(rule).values()])
