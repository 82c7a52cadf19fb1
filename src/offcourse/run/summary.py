"""The last lines of `make`: what the study found, where its report is, and what to do next."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from offcourse.claims.findings import FOLDER, read_findings
from offcourse.data.names import RESOURCES
from offcourse.errors import OffcourseError
from offcourse.layout import Layout
from offcourse.schemas.io import read_unchecked
from offcourse.study.config import Study, read_study

# Table 3: the least share of few-shot accuracy that counts as recovered in the line, and what its rows are.
HALF = "0.50"
VECTORS = {"FV search": "best function vector", "TV": "task vector"}


def summary(study: Study, configfile: Path) -> list[str]:
    """Some ten lines on a finished study, from its own tables. Raises `OffcourseError` for a table that is damaged."""
    results = Layout(study.study).results
    config = "" if configfile == Path("config.yaml") else f" --configfile {shlex.quote(str(configfile))}"
    return [
        *_found(results / "tables", study),
        *_released(),
        f"Report: {results}/report.html",
        f"Where a number comes from: offcourse audit table3{config} --row 'FV search' --column 0.90"
        if (results / "tables/table3.parquet").exists()
        else f"Where a number comes from: offcourse audit --all{config}",
        f"What a change would compute again: offcourse status{config}",
        "More: make published (the paper's own numbers, no model), make CONFIG=studies/laptop.yaml, make help",
    ]


def _found(tables: Path, study: Study) -> Iterator[str]:
    yield f"Study {study.study} is finished: {len(study.models)} models, {len(study.tasks)} tasks."
    if (path := tables / "table3.parquet").exists():
        cells = read_unchecked(path)
        for row, name in VECTORS.items():
            found = cells[(cells["row"] == row) & (cells["column"] == HALF)]
            for cell in found.itertuples():
                yield (
                    f"  {name[0].upper()}{name[1:]} reaches half of few-shot accuracy in {cell.value:.0f} % of "
                    f"{cell.n} model-task pairs, 95 % interval {cell.ci_low:.0f} to {cell.ci_high:.0f} (Table 3)."
                )
    if (path := tables / "table1.parquet").exists():
        cells = read_unchecked(path).set_index(["row", "column"])
        for row in dict.fromkeys(cells.index.get_level_values("row")):
            base, steered = cells.loc[(row, "MC1 base")], cells.loc[(row, "MC1 DoLa")]
            numbers = f"{base.value:.2f} without, {steered.value:.2f} with, {base.n} questions"
            yield f"  DoLa, {row}: MC1 {numbers} (Table 1)."


def _released() -> Iterator[str]:
    findings = read_findings(RESOURCES / FOLDER)
    yield (
        f"  The released code reads heads one token early for {findings.count(True)} of "
        f"{len(findings.recovery)} models: peak recovery {findings.mean(True):.2f}, others {findings.mean(False):.2f}."
    )


if __name__ == "__main__":
    try:
        print("\n".join(summary(read_study(Path(sys.argv[1])), Path(sys.argv[1]))))
    except OffcourseError as failed:
        sys.exit(f"offcourse: {failed}")
