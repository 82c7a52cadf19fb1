"""What a cell of a table was computed from, and computing it again from nothing else.

`sources` of a cell is a JSON list of entries, each a selection of rows of one artefact:

role      what the entry is for: `best`, `few_shot`, `base`, `DoLa`, `value`
group     the model-task pair it belongs to; a role's entries of one group are averaged
artefact  path relative to the study's folder
where     values that select the rows: for a best-of-grid number the grid point that was chosen
measure   what is averaged over the rows: a column of the artefact, or one of `truthfulness.per_question`
n         number of items (rows, or questions) that the selection has
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from offcourse.analysis import recovery, truthfulness
from offcourse.errors import OffcourseError

PERCENT, PAIRS, SHARE, P_VALUE = "% of model-task pairs", "pairs", "share of questions", "p-value"


def source(
    role: str, artefact: str, where: Mapping[str, Any], n: int, measure: str = "hit", group: str = "", **more: Any
) -> dict[str, Any]:
    """One entry; numpy's scalars become plain numbers."""
    plain = {key: value.item() if hasattr(value, "item") else value for key, value in where.items()}
    return {
        "role": role,
        "group": group,
        "artefact": artefact,
        "where": plain,
        "measure": measure,
        "n": int(n),
        **more,
    }


def rows_of(results: Path, entry: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of an entry's artefact. Raises `OffcourseError` when they are not as many items as it says."""
    path = Path(results) / entry["artefact"]
    try:
        rows = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise OffcourseError(f"{path} cannot be read ({error}). Run the workflow again.") from error
    for column, value in entry["where"].items():
        if column not in rows:
            raise OffcourseError(f"{path} has no column {column!r}, which a cell names; run the workflow again.")
        rows = rows[rows[column] == value]
    return rows


def items(results: Path, entry: Mapping[str, Any]) -> pd.Series:
    """The numbers that an entry averages, one per item."""
    rows = rows_of(results, entry)
    if entry["measure"] in rows:
        values = rows[entry["measure"]].astype(float)
    else:
        values = truthfulness.per_question(rows, entry.get("removed", False))[entry["measure"]].astype(float)
    if len(values) != entry["n"]:
        raise OffcourseError(
            f"{entry['artefact']} has {len(values)} items where {entry['where']}, a cell was made from {entry['n']}. "
            "Run the workflow again."
        )
    return values.reset_index(drop=True)


def recompute(results: Path, cell: Mapping[str, Any]) -> float | None:
    """The value of a cell (a row under `artefacts.CELLS`) from the artefacts it names; None for an empty cell."""
    entries = json.loads(cell["sources"])
    if cell["unit"] in (PERCENT, PAIRS):
        return _share_of_pairs(results, cell, entries)
    if cell["unit"] == P_VALUE:
        base, other = (items(results, entry) for entry in entries)
        return truthfulness.mcnemar(base, other)
    if cell["unit"] == SHARE:
        [entry] = entries
        return float(items(results, entry).mean())
    raise OffcourseError(f"cells of unit {cell['unit']!r} cannot be computed again by this version.")


def _share_of_pairs(results: Path, cell: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> float | None:
    groups: dict[str, dict[str, list[float]]] = {}
    for entry in entries:
        groups.setdefault(entry["group"], {}).setdefault(entry["role"], []).append(items(results, entry).mean())
    if not groups:
        return None
    quantile = float(cell["column"])
    reached = sum(
        recovery.reaches(_mean(roles["best"]), quantile, _mean(roles["few_shot"])) for roles in groups.values()
    )
    return float(reached) if cell["unit"] == PAIRS else 100 * reached / len(groups)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
