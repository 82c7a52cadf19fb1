"""Making tables, figures, report and comparison from the authors' release, with the code that makes a study's.

Files go below `results/published/`, and every job writes a record. The release's protocol is `as_published`.

What a rule draws or writes with is imported by the rule: most jobs make a table, and importing matplotlib and the
report takes longer than many of their tables.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from offcourse.graph import catalogue
from offcourse.graph.products import PRODUCTS
from offcourse.graph.release import Release, parameters_of, results_of_release, write_models
from offcourse.graph.release_rules import FIGURES, NAME, TABLES, script_of
from offcourse.graph.release_rules import PAGES as TARGETS
from offcourse.layout import Layout, picture_files
from offcourse.provenance.records import Stopwatch, code_behind, hashes, write_record
from offcourse.provenance.sharing import host_as
from offcourse.published.figures import figure_files, pages_of
from offcourse.published.files import comparison_files, outputs
from offcourse.run import products
from offcourse.store.fingerprint import freeze_imports, script_digest
from offcourse.study.protocol import Protocol


def make(rule: str, inputs: list[str], layout: Layout) -> None:
    """Run one rule of the release and write its record."""
    release = Release(layout)
    if rule in TABLES:
        write = partial(products.make, TABLES[rule], results_of_release(release))
    else:
        write = {
            "published_models": partial(write_models, release),
            **{each: partial(write_figures, release, each) for each in FIGURES},
            "published_comparison": partial(write_comparison, layout.results, None),
            "published_report": partial(write_report, release),
        }[rule]
    recorded(rule, layout, inputs, outputs(release, rule), write)


def compare_study(inputs: list[str], layout: Layout) -> None:
    """Write the comparison of a study with the printed numbers, and its record."""
    published = Layout(NAME, layout.base).results
    files = comparison_files(layout.results)
    recorded("comparison", layout, inputs, files, lambda: write_comparison(published, layout.results))


def recorded(
    rule: str,
    layout: Layout,
    inputs: list[str],
    files: list[Path],
    write: Callable[[], None],
    protocol: Protocol | None = None,
    page: str | None = None,
) -> None:
    """Call `write`, which makes `files` from `inputs`, and write the record of the job.

    protocol: a study's protocol (None: the published one). page: the page, for a rule that draws pages one by one.
    """
    watch = Stopwatch(host_as("digest", layout.base))
    code, program = code_behind(*TARGETS[rule]), script_digest(script_of(rule))
    freeze_imports(code["modules"])
    write()
    record = {
        "rule": rule,
        "wildcards": {"page": page} if page else {},
        "study": layout.study,
        "inputs": hashes(map(Path, inputs), layout.base),
        "outputs": hashes(files, layout.base),
        "parameters": parameters_of(rule, Release(Layout(NAME, layout.base))),
        "protocol": (protocol or Protocol()).model_dump(),
        "code": code,
        "script": program,
        "made": watch.made(),
    }
    write_record(layout.rule_record(rule, page), record)


def make_sweep_page(inputs: list[str], page: str, layout: Layout) -> None:
    """Draw one more page of the sweep and write its record."""
    from offcourse.published.drawings import draw_sweep_page

    release = Release(layout)
    files = picture_files(layout.results / "figures" / "figure17" / page)
    recorded("published_sweep_page", layout, inputs, files, lambda: draw_sweep_page(release, page), page=page)


def write_figures(release: Release, rule: str) -> None:
    """Draw the figures of a rule, see `published.drawings`."""
    from offcourse.published.drawings import draw_figures

    draw_figures(release, rule)


def write_report(release: Release) -> None:
    """Write the report of the release alone."""
    from offcourse.analysis import comparison
    from offcourse.published.audit import ReleaseAudit
    from offcourse.report import page as report
    from offcourse.schemas.io import read_parquet

    results, audit, covered = release.layout.results, ReleaseAudit(release.layout.base), results_of_release(release)
    listed, pages = catalogue.tables(("function_vectors", "task_vectors", "dola")), pages_of(release, covered)
    files = [path.relative_to(results).as_posix() for rule in TABLES for path in outputs(release, rule)]
    files += [path.relative_to(results).as_posix() for path in figure_files(release)]
    listed = [table for table in listed if table["parquet"] in files]
    names = dict.fromkeys([*(table["id"] for table in listed), *(page["figure"] for page in pages), "sensitivity"])
    report.write(
        PRODUCTS["report"].view(replace(covered, shown=lambda: files)),
        None,
        pages,
        listed,
        [],
        results / "report.html",
        audits={name: audit.summary(name) for name in names},
        comparison=read_parquet(results / "comparison.parquet", comparison.COMPARISON),
        released=results,
    )


def write_comparison(published: Path, study: Path | None) -> None:
    """Write the comparison as parquet and csv, see `analysis.comparison`."""
    from offcourse.analysis import comparison
    from offcourse.schemas.io import write_parquet
    from offcourse.tables.writing import write_rows

    frame = comparison.comparison(published, study)
    parquet, csv = comparison_files(study or published)
    write_parquet(parquet, frame, comparison.COMPARISON)
    write_rows(csv, frame)
