"""Computing a cell of a table or a point of a figure again from the results that its `sources` name.

An entry is one element of `sources`, see `analysis.sources`.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from offcourse.analysis import choices, recovery, truthfulness
from offcourse.analysis.model_facts import text, total_heads
from offcourse.analysis.sources import (
    ACCURACY,
    ALPHA,
    CHANGE,
    DEPTH,
    FACT,
    P_VALUE,
    PAIRS,
    PERCENT,
    PERCENT_OF,
    SHARE,
)
from offcourse.errors import OffcourseError
from offcourse.schemas.io import read_unchecked

Entry = Mapping[str, Any]
CHOICES = ("n_heads", "strength", "layer_percent")
SMALL = 50_000  # bytes of a file: such as every sweep of the release


def rows_of(results: Path, entry: Entry) -> pd.DataFrame:
    """The rows that an entry selects. Raises `OffcourseError` when the artefact cannot be read or lacks a column."""
    path = Path(results) / entry["artefact"]
    written = _written(path)
    rows = (_read_small if sum(written[:1]) < SMALL else _read_large)(path, written)
    chosen = np.ones(len(rows), bool)
    for column, value in entry["where"].items():
        if column not in rows:
            raise OffcourseError(f"{path} has no column {column!r}, which a cell names; run the workflow again.")
        chosen &= rows[column].isin(value if isinstance(value, list) else [value]).to_numpy()
    return rows[chosen]


# Cached, since cells and points of one table or figure name the same files. Of large ones few are kept.
@lru_cache(maxsize=1024)
def _read_small(path: Path, written: tuple[int, ...]) -> pd.DataFrame:
    return read_unchecked(path)


@lru_cache(maxsize=16)
def _read_large(path: Path, written: tuple[int, ...]) -> pd.DataFrame:
    return read_unchecked(path)


def _written(path: Path) -> tuple[int, ...]:
    """Size and time of a file, which say whether it was written anew; nothing where no file is: its reader raises."""
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def items(results: Path, entry: Entry) -> pd.Series:
    """The numbers that an entry averages, one per item.

    Raises `OffcourseError` when their count differs from the entry's `n`.
    """
    if entry["artefact"].endswith(".json"):
        return pd.Series([_fact(results, entry)], dtype=float)
    rows = rows_of(results, entry)
    rows = rows.sort_values("item") if "item" in rows and "times" in entry else rows
    if (known := _counted(rows, entry["measure"])) is not None:
        values = known
    elif entry["measure"] in rows and entry["measure"] not in CHOICES:
        values = rows[entry["measure"]].astype(float)
    elif entry["measure"] in CHOICES:
        values = rows["hit"].astype(float)
    else:
        values = _per_question(Path(results) / entry["artefact"], entry, rows)[entry["measure"]].astype(float)
    if len(values) != entry["n"]:
        raise OffcourseError(
            f"{Path(results) / entry['artefact']} has {len(values)} items where {entry['where']}, a cell was made "
            f"from {entry['n']}. Run the workflow again."
        )
    return values.reset_index(drop=True)


def _per_question(path: Path, entry: Entry, rows: pd.DataFrame) -> pd.DataFrame:
    """All metrics of the answers `rows`, which an entry selects. Kept, since each metric is a cell of its own."""
    how = entry.get("removed", False), entry.get("exact", False)
    asked = path, _written(path), json.dumps(entry["where"]), "times" in entry, *how
    if asked not in _METRICS:
        if len(_METRICS) >= 256:
            _METRICS.clear()
        _METRICS[asked] = truthfulness.per_question(rows, *how)
    return _METRICS[asked]


_METRICS: dict[tuple, pd.DataFrame] = {}


def _counted(rows: pd.DataFrame, measure: str) -> pd.Series | None:
    """Numbers of the authors' results, which hold counts or means: the mean, repeated for each item.

    None for results that hold items.
    """
    if "hits" in rows:
        counts = rows[["hits", "items"]].astype(int).to_numpy()
        return pd.Series(np.concatenate([np.arange(items) < hits for hits, items in counts] or [[]]), dtype=float)
    count = next((name for name in ("n", "trials") if name in rows), None)
    return rows[measure].repeat(rows[count]).astype(float) if count else None


def _fact(results: Path, entry: Entry) -> Any:
    """An entry of a `model.json`. Raises `OffcourseError` for a file that has no such entry."""
    path = Path(results) / entry["artefact"]
    try:
        return json.loads(path.read_text(encoding="utf-8"))[entry["measure"]]
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise OffcourseError(f"{path} has no {entry['measure']!r}. Run the workflow again.") from error


def recompute(results: Path, cell: Mapping[str, Any]) -> float | str | None:
    """The value of a cell (a row of schema `CELLS`), computed from the artefacts that the cell names.

    None for an empty cell; a text for a cell of Tables 11 and 12 (`FACT_CELLS`).
    """
    entries = json.loads(cell["sources"])
    if cell["unit"] == FACT:
        known = {entry["measure"]: _fact(results, entry) for entry in entries}
        return text(total_heads(known) if len(known) > 1 else next(iter(known.values())))
    if cell["unit"] in (PERCENT, PAIRS):
        return _share_of_pairs(results, cell, entries)
    if cell["unit"] == ACCURACY:
        return _mean_of(results, entries, entries[0]["role"]) if entries else None
    if cell["unit"] == P_VALUE:
        return _paired_test(results, entries)
    if cell["unit"] == ALPHA:
        return float(entries[0]["where"]["alpha"])
    if cell["unit"] == DEPTH:
        return float(entries[0]["where"]["bucket"].split("-")[cell["column"].endswith(" to")])
    if cell["unit"].startswith(CHANGE):
        sides = [[entry for entry in entries if entry["role"] == role] for role in ("steered", "against")]
        return _pooled(results, sides[0]) - _pooled(results, sides[1])
    if cell["unit"].startswith((SHARE, PERCENT_OF)):
        return _pooled(results, entries) * (100 if cell["unit"].startswith(PERCENT_OF) else 1)
    raise OffcourseError(
        f"cells of unit {cell['unit']!r} cannot be computed again by this version. Run the workflow again."
    )


def plotted(point: Mapping[str, Any]) -> list[str]:
    """The columns of a figure's row that can be computed from its sources."""
    roles = {entry["role"] for entry in json.loads(point["sources"])}
    derived = {
        "sweep": ("value", "peak_recovery"),
        "post_best": ("change",),
        "low": ("mean", "scaled"),
        "tried": ("recovery",),
    }
    names = [name for role, columns in derived.items() if role in roles for name in columns]
    return [*names, *sorted(role for role in roles if role in point and role not in names)]


def recompute_point(results: Path, point: Mapping[str, Any], column: str) -> float | None:
    """A number of a figure (a row of its parquet), computed from the artefacts that the row names; None for a blank."""
    entries = json.loads(point["sources"])
    if column in ("value", "peak_recovery"):
        return _choice(results, entries, column)
    if column == "change":
        return _change(results, entries)
    if column == "recovery":
        return _recovered(results, entries)
    if column == "scaled" and any(entry["role"] == "low" for entry in entries):
        mean, low, high = (_mean_of(results, entries, role) for role in ("mean", "low", "high"))
        return min(1.0, max(0.0, (mean - low) / (high - low))) if high > low else 0.0
    return _mean_of(results, entries, column)


def _groups(results: Path, entries: Sequence[Entry]) -> dict[str, dict[str, float]]:
    """{group: {role: mean of the entries}}."""
    parts: dict[str, dict[str, list[Entry]]] = {}
    for entry in entries:
        parts.setdefault(entry["group"], {}).setdefault(entry["role"], []).append(entry)
    return {group: {role: _pooled(results, mine) for role, mine in roles.items()} for group, roles in parts.items()}


def _pooled(results: Path, entries: Sequence[Entry]) -> float:
    """Mean of the entries' means. Entries with `times`: mean over items, each weighted by how often it was reported."""
    if not any("times" in entry for entry in entries):
        return _mean([_mean_item(results, entry) for entry in entries])
    total, count = 0.0, 0
    for entry in entries:
        times = entry.get("times", [1] * entry["n"])
        total += float((items(results, entry) * times).sum())
        count += sum(times)
    return total / count


def _mean_item(results: Path, entry: Entry) -> float:
    """Mean of the numbers that an entry averages."""
    path = Path(results) / entry["artefact"]
    return _mean_of_items(results, json.dumps(entry), _written(path))


# Cached, since cells of one row of a table name the same hundreds of entries.
@lru_cache(maxsize=100_000)
def _mean_of_items(results: Path, entry: str, written: tuple[int, ...]) -> float:
    return items(results, json.loads(entry)).mean()


def _share_of_pairs(results: Path, cell: Mapping[str, Any], entries: Sequence[Entry]) -> float | None:
    groups = _groups(results, entries)
    if not groups:
        return None
    quantile = float(cell["column"])
    reached = sum(recovery.reaches(roles["best"], quantile, roles["few_shot"]) for roles in groups.values())
    return float(reached) if cell["unit"] == PAIRS else 100 * reached / len(groups)


def _mean_of(results: Path, entries: Sequence[Entry], role: str) -> float:
    mine = [entry for entry in entries if entry["role"] == role]
    return _mean([roles[role] for roles in _groups(results, mine).values()])


def _paired_test(results: Path, entries: Sequence[Entry]) -> float:
    """McNemar's p-value; for several repetitions (halvings), twice their median."""
    pairs: dict[int, dict[str, list[float]]] = {}
    for entry in entries:
        sides = pairs.setdefault(entry.get("repetition", 0), {})
        sides.setdefault(entry["role"], []).extend(items(results, entry))
    tests = [truthfulness.mcnemar(sides["base"], sides["DoLa"]) for sides in pairs.values()]
    return tests[0] if len(tests) == 1 else min(1.0, 2 * statistics.median(tests))


def _choice(results: Path, entries: Sequence[Entry], column: str) -> float | None:
    by_role = {entry["role"]: entry for entry in entries}
    accuracies = recovery.accuracy(rows_of(results, by_role["sweep"]))
    few_shot, layers = (float(items(results, by_role[role]).mean()) for role in ("few_shot", "layers"))
    best = choices.best_of(accuracies, few_shot, int(layers))
    value = best[by_role["sweep"]["measure"] if column == "value" else column]
    return None if pd.isna(value) else float(value)


def _change(results: Path, entries: Sequence[Entry]) -> float | None:
    changes = [
        roles["post_best"] / roles["post_few_shot"] - roles["base_best"] / roles["base_few_shot"]
        for roles in _groups(results, entries).values()
    ]
    return _mean(changes) if changes else None


def _recovered(results: Path, entries: Sequence[Entry]) -> float:
    """Mean recovery over groups; for pairs of models, the mean over pairs of the recovery minus the base's recovery."""
    parts: dict[str, dict[str, dict[str, list[Entry]]]] = {}
    for entry in entries:
        groups = parts.setdefault(entry.get("pair", ""), {})
        groups.setdefault(entry["group"], {}).setdefault(entry["role"], []).append(entry)
    means = []
    for groups in parts.values():
        sides = [
            [
                _recovery_of(results, roles[f"{side}tried"], roles[f"{side}few_shot"])
                for roles in groups.values()
                if f"{side}tried" in roles
            ]
            for side in ("", "base_")
        ]
        means.append(_mean(sides[0]) - (_mean(sides[1]) if sides[1] else 0.0))
    return _mean(means)


def _recovery_of(results: Path, tried: Sequence[Entry], few_shot: Sequence[Entry]) -> float:
    """One recovery; accuracies are averaged over the entries before a setting is chosen."""
    frames = []
    for entry in tried:
        rows = rows_of(results, entry)
        by = [axis for axis in recovery.SETTING if axis in rows]
        frames.append(recovery.shares(rows, by)["accuracy"])
    accuracies = (sum(frames) / len(frames)).rename("accuracy").reset_index()
    known = _pooled(results, few_shot)
    if not (len(accuracies) and known > 0):
        return float("nan")
    best, axes = accuracies["accuracy"].max(), [name for name in accuracies if name not in ("layer", "accuracy")]
    mean = accuracies.groupby(axes)["accuracy"].mean().max() if axes else accuracies["accuracy"].mean()
    measured = {"peak_recovery": best, "average_recovery": mean, "mean_times_maximum": mean * best}
    return float(measured[tried[0]["measure"]]) / known


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
