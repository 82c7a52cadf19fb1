"""The lineage of one number: from a cell of a table or a point of a figure down to model revision, data and items."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from offcourse.analysis.cells import plotted, recompute, recompute_point, rows_of
from offcourse.audit import summaries
from offcourse.audit.audit import Audit
from offcourse.audit.finding import INTACT
from offcourse.audit.rows import telling
from offcourse.audit.summaries import plain, same
from offcourse.data.names import RESOURCES
from offcourse.errors import OffcourseError, did_you_mean, listed
from offcourse.graph.keys import STEPS, leaf_files
from offcourse.graph.release_rules import NAME as RELEASE
from offcourse.provenance.records import fingerprint_of, located
from offcourse.schemas.io import read_unchecked
from offcourse.study.labels import labels_of

# KEY=VALUE of a point; a value goes on to the next key, since it may have blanks and commas.
SELECTED = re.compile(r"[^\s,=]+=.*?(?=[\s,]+[^\s,=]+=|[\s,]*$)|[^\s,]+")
# Columns that name the item of a row.
ITEMS = ("item", "question", "trial")


def lineage_of(audit: Audit, name: str, row: str, column: str | None) -> dict[str, Any]:
    """The lineage of one number as plain JSON: everything that it was computed from, and its value computed again.

    name: of a table or figure. row, column: of a table, as printed; of a figure, `row` selects a point ("layer=3
    head=1") and `column` is a plotted column. A table that keeps no sources of single numbers is made again as a whole
    (`audit.summaries`). Raises `OffcourseError` with a did-you-mean for a name that does not exist.
    """
    path = _numbers(audit, name)
    audit.begin(path)
    file = located(path, audit.layout.base)
    if not file.exists():
        raise OffcourseError(f"{path} is not there. Run the workflow.")
    frame = read_unchecked(file)
    if "sources" not in frame:
        return summaries.lineage_of(audit, name, path, row, column, _artefact)
    results = audit.layout.results
    if path.split("/")[-2] == "tables":
        cell = _cell(frame, name, row, column, labels_of(audit.registry).row)
        value, again = cell.get("text", cell["value"]), recompute(results, cell)
    else:
        cell = _point(frame, name, row)
        column = _plotted(cell, name, column)
        value, again = cell[column], recompute_point(results, cell, column)
    entries = json.loads(cell["sources"])
    wanted = {audit.path(results / entry["artefact"]): None for entry in entries}
    return {
        "name": name,
        "row": row,
        "column": column,
        "value": plain(value),
        "unit": cell.get("unit", ""),
        "n": cell.get("n"),
        "recomputed": plain(again),
        "agrees": same(value, again),
        "table": path,
        "sources": [{**entry, **_items(results, entry)} for entry in entries],
        "artefacts": {path: _artefact(audit, path) for path in wanted},
    }


def _numbers(audit: Audit, name: str) -> str:
    """The parquet file of a table or of one page of a figure."""
    found = [path for path in audit.files(name) if _is_numbers(path)]
    if len(found) != 1:
        numbers = [known for known, files in audit.names.items() if sum(map(_is_numbers, files)) == 1]
        pages = [known for known in numbers if known.startswith(f"{name}/")]
        raise OffcourseError(
            f"{name} has pages, each with numbers of its own: {', '.join(pages)}."
            if pages
            else f"{name} has no numbers of its own. Audit it without --row and --column, which checks every file "
            f"behind it, or name one of {', '.join(known for known in numbers if '/' not in known)}."
        )
    return found[0]


def _is_numbers(path: str) -> bool:
    return path.endswith(".parquet")


def _cell(frame: pd.DataFrame, name: str, row: str, column: str | None, shown: Callable[[str], str]) -> dict[str, Any]:
    """The cell of a row and a column, each as in the table or as the report prints it. shown: a row's label there."""
    if frame.empty:
        raise OffcourseError(f"{name} has no row in this study, so no number of {name} can be audited.")
    frame = frame[frame["row"] == _known(frame["row"].unique(), name, "row", row, shown)]
    columns = list(frame["column"].unique())
    if column is None:
        raise OffcourseError(f"say which number of {name}, {row}: --column is one of {listed(columns)}.")
    return frame[frame["column"] == _known(columns, name, "column", column)].iloc[0].to_dict()


def _known(known: Sequence[str], name: str, kind: str, wanted: str, shown: Callable[[str], str] = str) -> str:
    """The known text that `wanted` means: the text itself, or one that differs in spaces, case or the form of a number.

    Raises `OffcourseError` when there is none, or more than one.
    """
    if wanted in known:
        return wanted
    alike = [each for each in known if _plainly(wanted) in (_plainly(each), _plainly(shown(each)))]
    if len(alike) != 1:
        raise OffcourseError(f"{name} has no {kind} {wanted!r}: {did_you_mean(wanted, known)}")
    return alike[0]


def _plainly(text: str) -> str | float:
    """A text without what does not tell rows and columns apart."""
    text = " ".join(text.replace("≥", " ").casefold().split())
    try:
        return float(text)
    except ValueError:
        return text


def _point(frame: pd.DataFrame, name: str, row: str) -> dict[str, Any]:
    rows, keys = frame, [key for key in frame if key != "sources"]
    if frame.empty:
        raise OffcourseError(f"{name} has no point in this study, so no number of {name} can be audited.")
    for word in SELECTED.findall(row):
        key, equals, wanted = word.partition("=")
        if key not in keys or not equals:
            example = f"{keys[0]}={frame.iloc[0][keys[0]]}"
            raise OffcourseError(
                f"{name} has no column {key!r} to select by, as in {example}: {did_you_mean(key, keys)}"
            )
        before, rows = rows, rows[_holds(rows[key], key, wanted)]
        if rows.empty:
            known = map(str, before[key].unique())
            raise OffcourseError(f"{name} has no point with {word}: {did_you_mean(wanted, known)}")
    if differ := telling(rows, keys):
        example = ", ".join(word for word in (row.strip(), *(f"{key}={rows.iloc[0][key]}" for key in differ)) if word)
        raise OffcourseError(
            f"{len(rows)} points of {name} are like that; say also {', '.join(differ)}, as in --row {example!r}."
        )
    return rows.iloc[0].to_dict()


def _holds(column: pd.Series, key: str, wanted: str) -> pd.Series:
    """Where a column has the text or number `wanted`; a missing number is nan."""
    if not pd.api.types.is_numeric_dtype(column):
        return column.astype(str) == wanted
    number = _number(key, wanted)
    return column.isna() if number != number else column == number


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise OffcourseError(f"--row {key}={text}: {text!r} is not a number.") from error


def _plotted(point: Mapping[str, Any], name: str, column: str | None) -> str:
    known = plotted(point)
    if column is None and len(known) == 1:
        return known[0]
    if not known:
        raise OffcourseError(
            f"this point of {name} was computed from no result of the study, so that it cannot be computed again. "
            f"Audit {name} without --row and --column, which checks every file behind it."
        )
    if column is None:
        raise OffcourseError(f"say which number of {name}: --column is one of {listed(known)}.")
    if column not in known:
        raise OffcourseError(f"{name} draws no {column!r}: {did_you_mean(str(column), known)}")
    return column


def _items(results: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The items (words, questions or trials) that one entry of `sources` is computed over."""
    if entry["artefact"].endswith(".json"):
        return {"items": []}
    rows = rows_of(results, entry)
    key = next((key for key in ITEMS if key in rows), None)
    return {"items": [int(item) for item in rows[key].unique()] if key else []}


def _artefact(audit: Audit, path: str) -> dict[str, Any]:
    """How one artefact was made: code, machine, model, data, and the files behind it that are not intact."""
    record = audit.record_of(path)
    known = {
        "sha256": record["outputs"][path],
        "rule": record["rule"],
        "code": fingerprint_of(record["code"]),
        "parameters": record["parameters"],
        "made": record["made"],
        "wrong": [finding.as_dict() for finding in audit.behind(path) if finding.state != INTACT],
    }
    if record["study"] == RELEASE:
        known["data"] = [
            {"what": "released", "files": path, "digest": digest} for path, digest in record["inputs"].items()
        ]
    elif "step" in record:
        archive = audit.evidence.store.archive_of(record["key"], STEPS[record["step"]].suffix)
        known |= {
            "archive": audit.path(archive) if archive else None,
            "task": record["task"],
            "model": {"name": record["model"], **record["source"]},
            "data": _data(audit, record),
        }
    return known


def _data(audit: Audit, record: Mapping[str, Any]) -> list[dict[str, str]]:
    """The word lists or questions behind a result, each with the digest in the result's key."""
    step = STEPS[record["step"]]
    if step.inputs:
        read = step.upstream(audit.study, record["task"]).values()
        upstream = [audit.layout.artefact(up, STEPS[up].suffix, record["model"], unit) for up, unit in read]
        found = [entry for path in upstream for entry in _data(audit, audit.record_of(audit.path(path)))]
        digests = record["parts"]["inputs"]
        found += [
            {"what": "tracked", "digest": digests[name], "files": (Path(RESOURCES.name) / name).as_posix()}
            for name in step.tracked
        ]
        return [entry for number, entry in enumerate(found) if entry not in found[:number]]
    study, unit = audit.study, step.unit(audit.registry, record["task"])
    files = [audit.path(path) for path in leaf_files(step, study, audit.registry, unit.name, audit.layout.downloads)]
    if not files:
        tracked = f"questions/{unit.file}" if step.on_questions else f"words/{unit.words}"
        files = [(Path(RESOURCES.name) / tracked).as_posix()]
    digests = record["parts"]["inputs"]
    return [{"what": what, "digest": digest, "files": ", ".join(files)} for what, digest in digests.items()]
