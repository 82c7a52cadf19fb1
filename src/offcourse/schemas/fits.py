"""A quick yes to a table that fits its schema: small tables are read by the thousand, and some at every start.

pandera takes 2 to 4 ms for a table of five columns, a tenth of that suffices to see that nothing is wrong. Whatever is
not plainly right goes to pandera, which decides and says what is wrong.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.engines import pandas_engine

# pandera's names of the checks that most columns have.
_CHECKS: dict[str, Callable[..., bool]] = {
    "greater_than": lambda column, min_value: column.min() > min_value,
    "greater_than_or_equal_to": lambda column, min_value: column.min() >= min_value,
    "in_range": lambda column, min_value, max_value, include_min, include_max: (
        include_min and include_max and column.min() >= min_value and column.max() <= max_value
    ),
    "isin": lambda column, allowed_values: set(column.unique()) <= set(allowed_values),
    "str_matches": lambda column, pattern: all(map(re.compile(pattern).match, column)),
    "of_cells": lambda column, holds: all(map(holds, column)),
    "str_length": lambda column, min_value=None, max_value=None, exact_value=None: (
        exact_value is None
        and (min_value is None or min(map(len, column)) >= min_value)
        and (max_value is None or max(map(len, column)) <= max_value)
    ),
}


def of_cells(holds: Callable[[Any], bool], error: str) -> pa.Check:
    """A check that `holds` is true of every cell. error: what was expected, in words.

    pandera needs 0.2 s to get ready for a function that it does not know; `fits` calls the function itself.
    """
    return pa.Check(holds, element_wise=True, error=error, name="of_cells", statistics={"holds": holds})


def fits(frame: pd.DataFrame, schema: pa.DataFrameSchema) -> bool:
    """Whether it is plain that `schema.validate` returns the table as it is; False says nothing."""
    plain = schema.strict is True and not (schema.checks or schema.coerce) and schema.index is None
    if not plain or frame.empty or list(frame.columns) != list(schema.columns):
        return False
    if schema.unique and frame.duplicated(schema.unique).any():
        return False
    return all(_column_fits(frame[name], column) for name, column in schema.columns.items())


def checked(frame: pd.DataFrame, schema: pa.DataFrameSchema, lazy: bool = False) -> pd.DataFrame:
    """The table as `schema.validate` returns it. lazy: gather all faults before raising, as pandera does.

    Raises pandera's `SchemaError`, or its `SchemaErrors` if lazy.
    """
    return frame if fits(frame, schema) else schema.validate(frame, lazy=lazy)


def _column_fits(column: pd.Series, wanted: pa.Column) -> bool:
    if wanted.unique or wanted.coerce or (wanted.dtype is not None and not _is(column.dtype, wanted.dtype)):
        return False
    if column.hasnans:
        column = column.dropna()
        if not wanted.nullable or column.empty:
            return wanted.nullable
    return all(_passes(column, check) for check in wanted.checks)


def _passes(column: pd.Series, check: pa.Check) -> bool:
    if check.groupby or not check.ignore_na:
        return False
    quick = _CHECKS.get(check.name)
    try:
        return bool(quick(column, **check.statistics) if quick else check(column).check_passed)
    except Exception:
        # Of another kind of cell than the check expects; pandera names it.
        return False


@cache
def _is(found: object, wanted: pandas_engine.DataType) -> bool:
    """Whether pandera takes a column of type `found` for one of the type `wanted`."""
    return wanted.check(pandas_engine.Engine.dtype(found)) is True
