"""A quick yes to a table that fits its schema, for code that reads or writes thousands of small tables.

pandera takes 2 to 4 ms for a table of five columns, a tenth of that suffices to see that nothing is wrong. Whatever is
not plainly right goes to pandera, which decides and says what is wrong.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
import pyarrow.parquet as pq
from pandera.engines import pandas_engine
from pyarrow import ArrowException

from offcourse.files import write_whole
from offcourse.schemas.io import read_parquet

# The key of pandas' `attrs` in the metadata of a file.
ATTRS = b"PANDAS_ATTRS"
# pandera's names of the checks that the schemas of results use.
_CHECKS: dict[str, Callable[..., bool]] = {
    "greater_than": lambda column, min_value: column.min() > min_value,
    "greater_than_or_equal_to": lambda column, min_value: column.min() >= min_value,
    "in_range": lambda column, min_value, max_value, include_min, include_max: (
        include_min and include_max and column.min() >= min_value and column.max() <= max_value
    ),
    "isin": lambda column, allowed_values: set(column.unique()) <= set(allowed_values),
}


def read_checked(path: Path, *schemas: pa.DataFrameSchema) -> pd.DataFrame:
    """`schemas.io.read_parquet`, quicker where the table fits one of the schemas."""
    try:
        # Threads and reading ahead cost more than they save for some hundred rows.
        with pq.ParquetFile(path, pre_buffer=False) as file:
            table = file.read(use_threads=False)
    except (OSError, ValueError, ArrowException):
        return read_parquet(path, *schemas)
    # pandas alone reads `attrs`.
    if ATTRS not in (table.schema.metadata or {}):
        frame = table.to_pandas(use_threads=False)
        if any(fits(frame, schema) for schema in schemas):
            return frame
    return read_parquet(path, *schemas)


def write_checked(path: Path, frame: pd.DataFrame, schema: pa.DataFrameSchema) -> None:
    """`schemas.io.write_parquet`, quicker where the table fits the schema."""
    frame = frame.reset_index(drop=True)
    checked = frame if fits(frame, schema) else schema.validate(frame)
    write_whole(path, lambda temporary: checked.to_parquet(temporary, index=False, compression="zstd"))


def fits(frame: pd.DataFrame, schema: pa.DataFrameSchema) -> bool:
    """Whether it is plain that `schema.validate` returns the table as it is; False says nothing."""
    plain = schema.strict is True and schema.ordered and not (schema.checks or schema.unique or schema.coerce)
    if not plain or schema.index is not None or frame.empty or list(frame.columns) != list(schema.columns):
        return False
    return all(_column_fits(frame[name], column) for name, column in schema.columns.items())


def _column_fits(column: pd.Series, wanted: pa.Column) -> bool:
    if wanted.unique or wanted.coerce or not _is(column.dtype, wanted.dtype):
        return False
    if column.hasnans:
        column = column.dropna()
        if not wanted.nullable or column.empty:
            return wanted.nullable
    return all(_passes(column, check) for check in wanted.checks)


def _passes(column: pd.Series, check: pa.Check) -> bool:
    quick = _CHECKS.get(check.name)
    return bool(quick and check.ignore_na and not check.groupby and quick(column, **check.statistics))


@cache
def _is(found: object, wanted: pandas_engine.DataType) -> bool:
    """Whether pandera takes a column of type `found` for one of the type `wanted`."""
    return wanted.check(pandas_engine.Engine.dtype(found)) is True
