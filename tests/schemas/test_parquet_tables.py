"""A parquet file that is not the table that was expected is refused by its name."""

import pandas as pd
import pytest

from offcourse.errors import OffcourseError
from offcourse.schemas.function_vectors import ICL
from offcourse.schemas.io import read_parquet, write_parquet


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame({"shots": [0, 0], "item": [0, 1], "hit": [True, False]})


def test_a_table_comes_back(tmp_path, table):
    write_parquet(tmp_path / "icl.parquet", table, ICL)
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "icl.parquet", ICL), table)


@pytest.mark.parametrize(
    ("spoiled", "said"),
    [
        (lambda table: table[["hit", "shots", "item"]], "columns hit, shots, item, expected shots, item, hit"),
        (lambda table: table.assign(more=1), "columns shots, item, hit, more, expected shots, item, hit"),
        (lambda table: table[["shots", "hit"]], "'item' not in dataframe"),
        (lambda table: table.astype({"item": str}), "'item' to have type int64"),
        (lambda table: table.assign(shots=-1), "shots"),
    ],
    ids=["order", "one more", "one less", "type", "value"],
)
def test_another_table_is_refused_by_name(tmp_path, table, spoiled, said):
    spoiled(table).to_parquet(tmp_path / "icl.parquet", index=False)
    with pytest.raises(OffcourseError, match=rf"icl\.parquet is not the table that was expected .*{said}"):
        read_parquet(tmp_path / "icl.parquet", ICL)
