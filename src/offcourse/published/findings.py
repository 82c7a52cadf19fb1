"""The tracked numbers of the finding and its page, from results that are there: `make findings`.

`python -m offcourse.published.findings` writes `resources/findings/` (`claims.findings`) from results/published and
from results/off-by-one, of those that are there, and docs/findings.md and its picture from these tables. README's
picture of function vectors is a page of results/default, and README's tables of methods come from results/bench, of
those that are there.
"""

import shutil
import tempfile
from pathlib import Path

import pandas as pd

from offcourse.claims.findings import FILES, FOLDER, peak_recoveries, read_findings
from offcourse.claims.sensitivity import SENSITIVITY
from offcourse.data.names import RESOURCES
from offcourse.figures import off_by_one, style
from offcourse.files import write_between
from offcourse.graph.products import FV
from offcourse.graph.release import Release, results_of_release
from offcourse.graph.release_rules import NAME
from offcourse.layout import Layout
from offcourse.published import bench
from offcourse.report.off_by_one import as_markdown
from offcourse.schemas.io import read_parquet
from offcourse.schemas.results import OFF_BY_ONE
from offcourse.tables import writing

STUDY = "off-by-one"
PICTURE = "off-by-one.png"
# README's picture, and the page of the default study that it is.
README_PICTURE = "function-vectors.png"
README_PAGE = Layout("default").results / "figures/figure17/smollm2-135m-instruct_present-past.png"
# The tables of the study that README shows.
BENCH = Layout(bench.STUDY).results / "tables"
BEGIN, END = "<!-- made by make findings: begin -->", "<!-- made by make findings: end -->"


def of_release(release: Release) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Peak recovery of every released model, and the rows of its table of switches that split models by their BOS."""
    covered = results_of_release(release)
    models, tasks = covered.scopes[FV]
    labels = {model: release.registry.model(model).label for model in models}
    switches = read_parquet(release.layout.results / "tables" / "sensitivity.parquet", SENSITIVITY)
    split = switches["change"].str.startswith("models that add BOS")
    return peak_recoveries(covered.folder, labels, tasks, covered.adds_bos or {}), switches[split]


def update(base: Path, resources: Path, page: Path, readme: Path) -> list[str]:
    """Write the tables that `base` has results for, and both pages; the names of the tables that were written."""
    folder, written = resources / FOLDER, {}
    if Layout(NAME, base).results.exists():
        written |= dict(zip(("peak-recovery.tsv", "by-bos.tsv"), of_release(Release(Layout(NAME, base))), strict=True))
    runs = Layout(STUDY, base).results / "tables" / "off_by_one.parquet"
    if runs.exists():
        written["off-by-one.tsv"] = read_parquet(runs, OFF_BY_ONE)
    for name, frame in written.items():
        write_finding(folder / name, frame)
    write_page(page, resources)
    write_picture(page.with_name(PICTURE), resources)
    if (base / README_PAGE).exists():
        shutil.copyfile(base / README_PAGE, page.with_name(README_PICTURE))
    if (base / BENCH).exists():
        write_between(readme, BEGIN, END, bench.as_markdown(base / BENCH))
    return list(written)


def write_finding(path: Path, frame: pd.DataFrame) -> None:
    """Write one of the tracked tables, checked; numbers have six digits, so that no machine's rounding changes them."""
    checked = FILES[path.name].validate(frame.reset_index(drop=True))
    writing.write_rows(path, checked, sep="\t", float_format="%.6g")


def write_picture(path: Path, resources: Path) -> None:
    """Draw the figure of the tracked tables, as a PNG alone."""
    findings = read_findings(resources / FOLDER)
    with tempfile.TemporaryDirectory() as folder:
        style.draw(off_by_one.composed(findings, findings.runs, own=False), Path(folder) / "figure")
        shutil.copyfile(Path(folder) / "figure.png", path)


def write_page(page: Path, resources: Path) -> None:
    """Write what the tables say between the marks of `page`. Raises `OffcourseError` when it has none."""
    write_between(page, BEGIN, END, f"\n{as_markdown(read_findings(resources / FOLDER))}")


def main() -> None:
    """Write tables and page of this checkout."""
    written = update(Path(), RESOURCES, Path("docs/findings.md"), Path("README.md"))
    pictures = [PICTURE, *([README_PICTURE] if README_PAGE.exists() else [])]
    pages = ["docs/findings.md", *(f"docs/{name}" for name in pictures), *(["README.md"] if BENCH.exists() else [])]
    print(f"Written: {', '.join([*written, *pages])}")


if __name__ == "__main__":
    main()
