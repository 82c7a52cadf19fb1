"""Schemas of tables made from results: cells of the paper's numbered tables, and how certain the best settings are."""

import pandas as pd
import pandera.pandas as pa

from offcourse.schemas.function_vectors import NULL_CONTROLS
from offcourse.schemas.io import columns

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
            *("by_luck", "by_luck_high", "p", "p_holm", *NULL_CONTROLS),
        )
    },
)


def as_cells(rows: list[tuple]) -> pd.DataFrame:
    """Rows as a table of schema `CELLS`, also when there are none."""
    types = {name: column.dtype.type for name, column in CELLS.columns.items()}
    return pd.DataFrame(rows, columns=list(CELLS.columns)).astype(types)
