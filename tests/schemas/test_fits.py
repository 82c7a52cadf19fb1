"""A quick yes is only said of tables that pandera accepts, and of every released table; the rest is pandera's."""

from collections.abc import Iterator

import pandas as pd
import pandera.pandas as pa
import pytest

from offcourse.archive import packed
from offcourse.errors import OffcourseError
from offcourse.published.convert import SCHEMAS
from offcourse.schemas.fits import fits
from offcourse.schemas.function_vectors import FV_SWEEP, ICL
from offcourse.schemas.io import read_parquet, read_unchecked, write_parquet


def released(step: str) -> pd.DataFrame:
    """The released tables of a step below one another."""
    return read_unchecked(packed.folder() / f"{step}.parquet").drop(columns=["model", "unit"])


def accepts(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> bool:
    try:
        pd.testing.assert_frame_equal(schema.validate(frame), frame)
    except (pa.errors.SchemaError, pa.errors.SchemaErrors):
        return False
    return True


def spoiled(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """A table with one thing changed, and what; most changes are wrong ones."""
    names = list(frame.columns)
    yield "another order", frame[names[::-1]]
    yield "no row", frame.iloc[:0]
    yield "a column more", frame.assign(more=1)
    yield "a column twice", frame[[*names, names[-1]]]
    for name in names:
        yield f"without {name}", frame.drop(columns=name)
        yield f"{name} as text", frame.assign(**{name: frame[name].astype(str)})
        yield f"{name} as objects", frame.assign(**{name: frame[name].astype(object)})
        yield f"{name} missing once", frame.assign(**{name: frame[name].where(frame.index != 1)})
        yield f"{name} missing", frame.assign(**{name: frame[name].where(frame.index < 0)})
        if pd.api.types.is_numeric_dtype(frame[name]):
            for value in (-1e6, -1, 0, 1e6):
                yield f"{name} is {value:g}", frame.assign(**{name: pd.array([value] * len(frame), frame[name].dtype)})
            yield f"{name} is infinite", frame.assign(**{name: float("-inf")})
            yield f"{name} in another type", frame.assign(**{name: frame[name].astype("Float64").astype("float32")})
        else:
            yield f"an unknown word in {name}", frame.assign(**{name: frame[name].where(frame.index != 1, "unknown")})


@pytest.mark.parametrize("step", SCHEMAS)
def test_released_tables_fit_and_spoiled_ones_only_if_pandera_agrees(step):
    frame, schema = released(step), SCHEMAS[step]
    assert fits(frame, schema) and accepts(schema, frame.head(1000))
    found = {what: (fits(each, schema), accepts(schema, each)) for what, each in spoiled(frame.head(40))}
    assert {what for what, (quick, slow) in found.items() if quick and not slow} == set()
    assert sum(not slow for _, slow in found.values()) > 3 * len(frame.columns)


def of(check: pa.Check | None = None, **more) -> pa.DataFrameSchema:
    return pa.DataFrameSchema({"n": pa.Column(int, check, **more)}, strict=True)


def test_what_is_not_checked_here_is_left_to_pandera():
    frame = pd.DataFrame({"n": [1, 2, 3]})
    assert fits(frame, of())
    more = (
        of(unique=True),
        of(coerce=True),
        of(pa.Check.in_range(0, 4, include_max=False)),
        of(pa.Check(lambda column: column < 4, ignore_na=False)),
        pa.DataFrameSchema({"n": pa.Column(int)}, checks=pa.Check(lambda frame: len(frame) == 3), strict=True),
        pa.DataFrameSchema({"n": pa.Column(int)}, ordered=True),
    )
    assert all(accepts(schema, frame) for schema in more)
    assert [fits(frame, schema) for schema in more] == [False] * len(more)


CHECKS = {
    "unlike": (pa.Check.ne(4), int, [1, 2], [1, 4]),
    "of the column": (pa.Check(lambda column: column < 4), int, [1, 2], [1, 4]),
    "of each cell": (pa.Check(lambda cell: cell < 4, element_wise=True), int, [1, 2], [1, 4]),
    "cell of another kind": (pa.Check(lambda cell: 1 / cell > 0, element_wise=True), int, [1, 2], [1, 0]),
    "pattern": (pa.Check.str_matches("^a+$"), None, ["a", "aa"], ["a", "b"]),
    "longest": (pa.Check.str_length(max_value=2), None, ["", "aa"], ["aaa", "a"]),
    "shortest": (pa.Check.str_length(min_value=1), None, ["a", "aa"], ["a", ""]),
    "words": (pa.Check.isin(["a", "b"]), None, ["a", "b"], ["a", "c"]),
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_of_a_column_says_what_pandera_says(name):
    check, kind, right, wrong = CHECKS[name]
    schema = pa.DataFrameSchema({"n": pa.Column(kind, check)}, strict=True)
    for cells, expected in ((right, True), (wrong, False)):
        frame = pd.DataFrame({"n": cells})
        assert fits(frame, schema) == accepts(schema, frame) == expected


def test_rows_whose_names_occur_twice_do_not_fit():
    schema = pa.DataFrameSchema({"n": pa.Column(int), "m": pa.Column(int)}, strict=True, unique=["n"])
    for cells, expected in (([1, 2], True), ([1, 1], False)):
        frame = pd.DataFrame({"n": cells, "m": [1, 1]})
        assert fits(frame, schema) == accepts(schema, frame) == expected


def test_reading_and_writing_are_those_of_pandera(tmp_path):
    frame = pd.DataFrame([(5, 0, True), (0, 0, False)], columns=list(ICL.columns), index=[7, 8])
    one, other = tmp_path / "one.parquet", tmp_path / "other.parquet"
    write_parquet(one, frame, ICL)
    ICL.validate(frame.reset_index(drop=True)).to_parquet(other, index=False, compression="zstd")
    assert one.read_bytes() == other.read_bytes()
    pd.testing.assert_frame_equal(read_parquet(one, FV_SWEEP, ICL), ICL.validate(pd.read_parquet(one)))
    frame.attrs["said"] = "beside the table"
    write_parquet(one, frame, ICL)
    assert read_parquet(one, ICL).attrs == {"said": "beside the table"}
    with pytest.raises(pa.errors.SchemaError):
        write_parquet(one, frame.assign(shots=-1), ICL)
    frame.assign(shots=-1).to_parquet(other)
    with pytest.raises(OffcourseError, match=r"other\.parquet is not the table that was expected"):
        read_parquet(other, ICL)
    other.write_bytes(one.read_bytes()[:-20])
    with pytest.raises(OffcourseError, match=r"other\.parquet is not the table that was expected"):
        read_parquet(other, ICL)
    with pytest.raises(OffcourseError, match=r"none\.parquet is not the table that was expected"):
        read_parquet(tmp_path / "none.parquet", ICL)
