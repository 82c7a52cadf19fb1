"""Parquet tables are written whole or not at all, and checked against a schema when written and when read."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
import pyarrow.parquet as pq
from pyarrow import ArrowException

from offcourse.errors import OffcourseError
from offcourse.files import write_whole
from offcourse.schemas.fits import checked

# The key of pandas' `attrs` in the metadata of a file.
ATTRS = b"PANDAS_ATTRS"


def columns(**columns: pa.Column) -> pa.DataFrameSchema:
    """A schema of exactly these columns, in this order."""
    return pa.DataFrameSchema(columns, strict=True, ordered=True)


def typed(frame: pd.DataFrame, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """The columns of `schema`, in its order and types, of a table that has them all."""
    return frame[list(schema.columns)].astype({name: column.dtype.type for name, column in schema.columns.items()})


def as_table(rows: Sequence[tuple], schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Rows as a table of `schema`, also when there are none."""
    return typed(pd.DataFrame(rows, columns=list(schema.columns)), schema)


def write_parquet(path: Path, frame: pd.DataFrame, schema: pa.DataFrameSchema) -> None:
    """Check `frame` against `schema` and write it, whole or not at all."""
    sound = checked(frame.reset_index(drop=True), schema)
    write_whole(path, lambda temporary: sound.to_parquet(temporary, index=False, compression="zstd"))


def read_parquet(path: Path, *schemas: pa.DataFrameSchema) -> pd.DataFrame:
    """Read a parquet file that the workflow wrote and check the table against a schema.

    schemas: the schema with the table's columns and types is used; if none has them, the first.
    Raises `OffcourseError` for a file that is not such a table.
    """
    frame = read_unchecked(path)
    schema = next((each for each in schemas if _has_columns(each, frame)), schemas[0])
    try:
        return validated(frame, schema)
    except ValueError as error:
        raise _refusal(path, error) from error


def validated(frame: pd.DataFrame, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """The table as the schema gives it. Raises `ValueError` that says what is wrong with it."""
    try:
        return checked(frame, schema)
    except pa.errors.SchemaErrors as errors:
        # Columns that are wrong as a whole: one too many, or another order.
        has, expected = (", ".join(map(str, names)) for names in (frame.columns, schema.columns))
        raise ValueError(f"it has the columns {has}, expected {expected}") from errors
    except pa.errors.SchemaError as error:
        raise ValueError(str(error)) from error


def read_unchecked(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a parquet file, or some of its columns, without a schema. Raises `OffcourseError` for a damaged file."""
    try:
        if columns is not None:
            return pd.read_parquet(path, columns=columns)
        # Threads and reading ahead cost more than they save for some hundred rows.
        with pq.ParquetFile(path, pre_buffer=False) as file:
            table = file.read(use_threads=False)
        frame = table.to_pandas(use_threads=False)
        frame.attrs = json.loads((table.schema.metadata or {}).get(ATTRS, b"{}"))
        return frame
    except (OSError, ValueError, ArrowException) as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: Exception) -> OffcourseError:
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return OffcourseError(f"{path} is not the table that was expected ({said}). Delete it and run the workflow again.")


def _has_columns(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> bool:
    """Whether a table has the columns of a schema, with nullable numbers exactly where the schema has them."""
    return list(schema.columns) == list(frame.columns) and all(
        (str(column.dtype) == "Int64") == (str(frame[name].dtype) == "Int64") for name, column in schema.columns.items()
    )
