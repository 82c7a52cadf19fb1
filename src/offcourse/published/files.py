"""The files that each rule of the authors' release makes below `results/published/`, and the digest of its code.

`published.pages` makes the files. This module imports nothing that draws, since the workflow asks it for names at each
start.
"""

import json
from pathlib import Path

from offcourse.graph.release import Release, all_models, parameters_of
from offcourse.graph.release_rules import FIGURES, NAME, TABLES, script_of, targets_of
from offcourse.published.figures import figure_files
from offcourse.store.fingerprint import fingerprint, script_digest


def outputs(release: Release, rule: str) -> list[Path]:
    """The files of a rule, without its record."""
    results = release.layout.results
    if rule == "published_models":
        return [results / name / "model.json" for name in all_models(release)]
    if rule in TABLES:
        return [results / path for path in (*TABLES[rule].table_files, *TABLES[rule].files)]
    if rule == "published_comparison":
        return comparison_files(results)
    if rule == "published_report":
        return [results / "report.html"]
    return figure_files(release, *([rule] if rule in FIGURES else []))


def comparison_files(results: Path) -> list[Path]:
    """The files of a comparison with the printed numbers. results: folder of the release or of a study."""
    folder = results if results.name == NAME else results / "tables"
    return [folder / "comparison.parquet", folder / "comparison.csv"]


def code_of(rule: str, original: bool = False) -> str:
    """Digest of the code behind a rule and of its script. original: see `targets_of`."""
    return f"{fingerprint(*targets_of(rule, original))} {script_digest(script_of(rule))}"


def read_by(rule: str, release: Release) -> str:
    """Everything that a rule reads beside results and code, as JSON text."""
    return json.dumps(parameters_of(rule, release), sort_keys=True)
