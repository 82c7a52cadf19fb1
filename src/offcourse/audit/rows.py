"""Which columns tell the rows of a table or figure apart."""

from collections.abc import Iterable

import pandas as pd


def telling(frame: pd.DataFrame, keys: Iterable[str]) -> list[str]:
    """Columns among `keys` whose values tell the rows of `frame` apart; a column that tells no more apart is left out.

    Texts are tried first and measured numbers last, since a reader knows a row by its names. Rows that are equal in
    every column stay together.
    """
    chosen: list[str] = []
    groups = 1
    for key in sorted(keys, key=lambda key: _measured(frame[key])):
        more = frame.groupby([*chosen, key], dropna=False, sort=False).ngroups if groups < len(frame) else groups
        if more > groups:
            chosen, groups = [*chosen, key], more
    return chosen


def _measured(column: pd.Series) -> int:
    """0 for texts, 1 for whole numbers, 2 for others."""
    if not pd.api.types.is_numeric_dtype(column):
        return 0
    return 2 if pd.api.types.is_float_dtype(column) else 1
