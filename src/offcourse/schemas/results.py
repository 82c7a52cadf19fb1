"""Schemas of tables made from results: cells of the paper's numbered tables, and how certain the best settings are."""

import pandas as pd
import pandera.pandas as pa

from offcourse.schemas.function_vectors import NULL_CONTROLS
from offcourse.schemas.io import as_table, columns

CELLS = columns(
    row=pa.Column(str),
    column=pa.Column(str),
    value=pa.Column(float, nullable=True),
    n=pa.Column(int, pa.Check.ge(0)),
    ci_low=pa.Column(float, nullable=True),
    ci_high=pa.Column(float, nullable=True),
    unit=pa.Column(str),
    sources=pa.Column(str),
)
# Cells of Tables 11 and 12, which may be texts: `text` is the printed cell, `value` its number if the cell is a number.
FACT_CELLS = columns(**CELLS.columns, text=pa.Column(str))

# How certain it is that the chosen setting of a grid is the best one, see `tables.certainty`.
CERTAINTY = columns(
    method=pa.Column(str),
    model=pa.Column(str),
    on=pa.Column(str),
    items=pa.Column(int, pa.Check.gt(0)),
    settings=pa.Column(int, pa.Check.gt(0)),
    **{
        name: pa.Column(float, nullable=True)
        for name in (
            *("without", "few_shot", "best", "best_low", "best_high", "held_out", "held_out_low", "held_out_high"),
            *("by_luck", "by_luck_high", "p", "p_holm", "floor", "within_floor", *NULL_CONTROLS),
        )
    },
)

# Function vectors read at either token, see `analysis.off_by_one`.
OFF_BY_ONE = columns(
    model=pa.Column(str),
    label=pa.Column(str),
    adds_bos=pa.Column(bool),
    task=pa.Column(str),
    seed=pa.Column(int),
    vector=pa.Column(str, pa.Check.isin(["last", "one_early", "early_heads", "early_means"])),
    items=pa.Column(int, pa.Check.gt(1)),
    settings=pa.Column(int, pa.Check.gt(0)),
    shots=pa.Column(int, pa.Check.gt(0)),
    few_shot=pa.Column(float, pa.Check.in_range(0, 1)),
    without=pa.Column(float, pa.Check.in_range(0, 1)),
    control=pa.Column(str),
    n_heads=pa.Column(int, pa.Check.gt(0)),
    strength=pa.Column(float, pa.Check.gt(0)),
    layer=pa.Column(int, pa.Check.ge(0)),
    accuracy=pa.Column(float, pa.Check.in_range(0, 1)),
    low=pa.Column(float, pa.Check.in_range(0, 1)),
    high=pa.Column(float, pa.Check.in_range(0, 1)),
    difference=pa.Column(float, pa.Check.in_range(-1, 1)),
    difference_low=pa.Column(float, pa.Check.in_range(-1, 1)),
    difference_high=pa.Column(float, pa.Check.in_range(-1, 1)),
    p=pa.Column(float, pa.Check.in_range(0, 1)),
    p_holm=pa.Column(float, pa.Check.in_range(0, 1)),
    verdict=pa.Column(str),
)


def as_cells(rows: list[tuple]) -> pd.DataFrame:
    """Rows as a table of schema `CELLS`, also when there are none."""
    return as_table(rows, CELLS)
