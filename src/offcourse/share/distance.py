"""How far apart two results of one step are, column by column or tensor by tensor."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from offcourse.graph.keys import STEPS
from offcourse.schemas.io import read_parquet

# The distance of results of which one has rows, columns or values that the other cannot be compared with.
APART = float("inf")
# As in `engine.checks`, which imports torch: the largest distance that counts as rounding, in rounding floors.
TIMES_FLOOR = 4.0
# The column that says in which precision a row was computed, where a step has several.
PRECISION = "precision"


def distances(step: str, one: Path, other: Path) -> dict[str, float]:
    """{column or tensor: distance} of two results of a step, where they differ; empty when all values are equal.

    Numbers have the norm of the difference over the norm of the other's values, hits, counts and texts the share of
    rows that differ. Results of different rows or shapes are infinitely far apart. Of a step with several precisions
    each has its own entries, as "hit (bfloat16)", because each rounds by its own step.

    Raises `OffcourseError` for a file that is not what the step writes.
    """
    pairs = _tables(step, one, other) if STEPS[step].schema is not None else _tensors(one, other)
    found = {name: _distance(left, right) for name, left, right in pairs}
    return {name: distance for name, distance in found.items() if distance}


def names_of(path: Path) -> list[str]:
    """The names of a result's tensors."""
    return list(_loaded(path))


def _tables(step: str, one: Path, other: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    left, right = (read_parquet(path, STEPS[step].schema) for path in (one, other))
    for name in left.columns:
        for precision, mine, others in _by_precision(left, right):
            yield named(name, precision), _values(mine[name]), _values(others[name])


def _by_precision(left: pd.DataFrame, right: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """(precision, its rows of either table); all rows under "" where tables have no precisions, or not the same."""
    if PRECISION not in left or left[PRECISION].tolist() != right[PRECISION].tolist():
        yield "", left, right
        return
    for precision in left[PRECISION].unique():
        yield precision, left[left[PRECISION] == precision], right[right[PRECISION] == precision]


def named(column: str, precision: str) -> str:
    """How a column is named among distances. precision: of its rows, "" where a table has no precisions."""
    return f"{column} ({precision})" if precision else column


def column_of(name: str) -> tuple[str, str]:
    """(column, precision) of a name among distances."""
    column, _, precision = name.removesuffix(")").partition(" (")
    return column, precision


def _values(column: pd.Series) -> np.ndarray:
    if column.dtype == object:
        # Lists, as the token ids of a prompt.
        return np.array([str(list(value) if isinstance(value, np.ndarray) else value) for value in column])
    return column.to_numpy()


def _tensors(one: Path, other: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    left, right = _loaded(one), _loaded(other)
    for name in sorted(left.keys() | right.keys()):
        nothing = np.zeros(0)
        yield name, left.get(name, nothing), right.get(name, nothing)
    if _notes(one) != _notes(other):
        yield "notes", np.array([0]), np.array([1])


def _loaded(path: Path) -> Mapping[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(path)


def _notes(path: Path) -> Mapping[str, str]:
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        return file.metadata() or {}


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    if one.shape != other.shape:
        return APART
    if not (np.issubdtype(one.dtype, np.floating) and np.issubdtype(other.dtype, np.floating)):
        return float(np.mean(one != other)) if one.size else 0.0
    # Equal infinities and two missing numbers are no difference; any other pair with one of them is.
    equal = (one == other) | (np.isnan(one) & np.isnan(other))
    left, right = (np.where(equal, 0, values).astype(np.float64) for values in (one, other))
    norm = np.linalg.norm(np.where(np.isfinite(other), other, 0).astype(np.float64))
    apart = float(np.linalg.norm(left - right))
    if not np.isfinite(apart):
        return APART
    return apart / float(norm) if norm else (APART if apart else 0.0)
