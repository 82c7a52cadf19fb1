"""Reading tab-separated tables into dataclasses, one per row, and explaining a wrong cell."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn, get_type_hints

import pandas as pd
import pandera.pandas as pa

from offcourse.data.names import RESERVED
from offcourse.errors import OffcourseError
from offcourse.files import sha256
from offcourse.schemas.fits import checked, of_cells


def text_column(*checks: pa.Check, **more) -> pa.Column:
    """A column of text."""
    return pa.Column(None, list(checks), **more)


def one_of(*values: str) -> pa.Column:
    """A column with some values only."""
    return text_column(pa.Check.isin(values, error="one of " + ", ".join(values)))


_NAME = text_column(
    pa.Check.str_matches(r"^[a-z0-9][a-z0-9._-]*$", error="a name of lower-case letters, digits, . _ -")
)
# The name of a row that becomes a folder or file in results/STUDY, beside the records and the report.
RESULT_NAME = text_column(
    *_NAME.checks,
    of_cells(
        lambda name: name not in RESERVED and not name.endswith((".json", ".html", ".parquet", ".csv")),
        f"a name that no folder or file of results has (not {', '.join(RESERVED)}, and no .json, .html, .parquet "
        "or .csv at its end)",
    ),
)
FILLED = text_column(pa.Check.str_length(min_value=1, error="not empty"))
# File systems take 255 bytes.
FILE_NAME = text_column(pa.Check.str_length(1, 200, error="a file name of 1 to 200 signs"))
MAYBE_FILE_NAME = text_column(pa.Check.str_length(0, 200, error="a file name of up to 200 signs, or nothing"))
_ANY = text_column()
# A terminal obeys them, and a page or figure cannot show them.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_COUNT = text_column(
    pa.Check.str_matches(r"^([1-9][0-9]{0,17})?$", error="a positive whole number, or nothing if not known")
)
SHA256 = text_column(pa.Check.str_matches(r"^([0-9a-f]{64})?$", error="64 hexadecimal digits, or nothing if not known"))


def schema(row_type: type, cells: Mapping[str, pa.Column]) -> pa.DataFrameSchema:
    """The schema of the table whose rows are of `row_type`, a dataclass with a `name`; every cell is still text.

    The dataclass gives the columns, their order and their types. cells: rules of single columns.
    """
    columns = {}
    for name, kind in get_type_hints(row_type).items():
        columns[name] = cells.get(name, _COUNT if kind == int | None else _ANY)
    columns["name"] = cells.get("name", _NAME)
    return pa.DataFrameSchema(columns, strict=True, unique=["name"])


def _convert(cell: str, kind) -> object:
    if kind == int | None:
        return int(cell) if cell else None
    if kind is bool:
        return cell == "yes"
    if kind == tuple[str, ...]:
        return tuple(filter(None, cell.split(",")))
    return cell


def read_tsv(path: Path) -> pd.DataFrame:
    """A tab-separated UTF-8 file with a header; every cell is text, row 0 is line 2 of the file.

    Raises `OffcourseError` naming the file, and the line where there is one.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise OffcourseError(
            f"there is no {path}. Install the project from its checkout, or set OFFCOURSE_RESOURCES to the checkout's "
            "resources folder."
        ) from error
    except UnicodeDecodeError as error:
        raise OffcourseError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise OffcourseError(f"{path} cannot be read: {error.strerror}") from error
    header, *rows = [line.split("\t") for line in text.removesuffix("\n").split("\n")]
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise OffcourseError(
                f"{path}, line {line}: expected {len(header)} tab-separated cells ({', '.join(header)}), got {len(row)}"
            )
    return pd.DataFrame(rows, columns=header, dtype=str)


def refuse_control(path: Path, frame: pd.DataFrame) -> None:
    """Raise `OffcourseError` with line, column and code point for a cell with a control character."""
    for column in frame:
        for line, cell in enumerate((column, *frame[column]), start=1):
            if sign := _CONTROL.search(cell):
                raise OffcourseError(
                    f"{path}, line {line}: the cell {cell!a} has the control character U+{ord(sign[0]):04X}; remove "
                    "it, or use an undamaged copy of the file"
                )


def read_checked(path: Path, rules: pa.DataFrameSchema) -> pd.DataFrame:
    """`read_tsv`, checked against a schema of text columns.

    Raises `OffcourseError` naming file, line, column and what was expected.
    """
    frame = read_tsv(path)
    refuse_control(path, frame)
    try:
        return checked(frame, rules, lazy=True)
    except pa.errors.SchemaErrors as error:
        _explain(path, error.failure_cases, list(rules.columns))


def read_rows(path: Path, row_type: type, cells: Mapping[str, pa.Column]) -> Mapping[str, object]:
    """The rows of a table by name, see `schema`.

    Raises `OffcourseError` naming file, line, column and what was expected.
    """
    rows, faults = read_sound_rows(path, row_type, cells)
    if faults:
        raise OffcourseError(next(iter(faults.values())))
    return rows


def read_sound_rows(
    path: Path, row_type: type, cells: Mapping[str, pa.Column]
) -> tuple[Mapping[str, object], Mapping[str, str]]:
    """(the rows whose cells are all right, {name of another row: what is wrong with it}).

    Raises `OffcourseError` for what is wrong with the file as a whole: its columns, a name.
    """
    # A table is read several times in a process; its rows are made once for what the file holds.
    known = row_type, str(path), sha256(path) if Path(path).is_file() else ""
    if known not in _ROWS:
        frame = read_tsv(path)
        refuse_control(path, frame)
        rules, faults = schema(row_type, cells), {}
        try:
            checked(frame, rules, lazy=True)
        except pa.errors.SchemaErrors as error:
            faults = _faults(path, frame, error.failure_cases, list(rules.columns))
        kinds = get_type_hints(row_type)
        rows = {
            row["name"]: row_type(**{column: _convert(row[column], kind) for column, kind in kinds.items()})
            for row in frame.to_dict(orient="records")
            if row["name"] not in faults
        }
        _ROWS[known] = MappingProxyType(rows), MappingProxyType(faults)
    return _ROWS[known]


_ROWS: dict[tuple, tuple[Mapping[str, object], Mapping[str, str]]] = {}


def _faults(path: Path, frame: pd.DataFrame, failures: pd.DataFrame, order: Sequence[str]) -> dict[str, str]:
    """{name of a row: the first of its wrong cells, in words}. A failure of the file or of a name is raised at once."""
    of_rows = failures["index"].notna() & (failures["column"] != "name")
    of_rows &= failures["check"] != "multiple_fields_uniqueness"
    if not of_rows.all():
        _explain(path, failures[~of_rows], order)
    faults: dict[str, str] = {}
    for index, cases in failures.groupby("index", sort=True):
        try:
            _explain(path, cases, order)
        except OffcourseError as error:
            faults[frame["name"][int(index)]] = str(error)
    return faults


def _explain(path: Path, failures: pd.DataFrame, order: Sequence[str]) -> NoReturn:
    """Say the first of pandera's failure cases in words; table row 0 is line 2 of the file."""
    failure = failures.iloc[0]
    if failure.check == "column_in_dataframe":
        raise OffcourseError(f"{path}: the column {failure.failure_case!r} is missing")
    if failure.check == "column_in_schema":
        raise OffcourseError(f"{path}: the column {failure.failure_case!r} is not known")
    if failure.check == "column_ordered":
        raise OffcourseError(f"{path}: expected the columns {', '.join(order)}, in this order")
    line = int(failure["index"]) + 2
    if failure.check == "multiple_fields_uniqueness":
        same = failures[(failures["index"] == failure["index"]) & (failures["check"] == failure.check)]
        key = ", ".join(
            f"{column} {value!r}" for column, value in zip(same["column"], same["failure_case"], strict=True)
        )
        raise OffcourseError(f"{path}, line {line}: the {key} occurs twice")
    raise OffcourseError(
        f"{path}, line {line}, column {failure.column}: expected {failure.check}, got {failure.failure_case!r}"
    )
