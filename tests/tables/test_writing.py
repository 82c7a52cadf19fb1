"""Printed tables hold what a study named: nothing in them is run by a spreadsheet or read as markup."""

import csv

import pandas as pd
import pandera.pandas as pa
import pytest
from lab import CHECKOUT

from offcourse.tables import writing

FORMULAE = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\n=1", "-a", '=HYPERLINK("http://x")']
PLAIN = ["-", "+", "-0.333", "+1.5", "-12 %", "-1e-05", "-0.3 [-0.5, 0.1]", "0.5", "", "'", "it's", "FV: a=b", "≥ 0.90"]


def write(out, form):
    frame = pd.DataFrame({"a": [1.0]})
    schema = pa.DataFrameSchema({"a": pa.Column(float)})
    writing.write_plain(out, "plain", "Title", "Caption.", frame, schema, form, ["a note"])
    with open(out / "plain.csv", encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("text", FORMULAE)
def test_a_spreadsheet_runs_no_cell(tmp_path, text):
    form = pd.DataFrame({"x": [text], text: ["y"]}, index=pd.Index([text], name=text))
    rows = write(tmp_path, form)
    assert rows == [["'" + text, "x", "'" + text], ["'" + text, "'" + text, "y"]]
    back = writing.read_csv(tmp_path / "plain.csv")
    assert list(back.columns) == [text, "x", text + ".1"] and back.iloc[0].tolist() == [text, text, "y"]


def test_a_carriage_return_begins_no_row(tmp_path):
    form = pd.DataFrame({"x": ["a\r=1+1"], "y": ["\r\n=1+1"]}, index=pd.Index(["row"], name="corner"))
    assert write(tmp_path, form) == [["corner", "x", "y"], ["row", "a\n=1+1", "'\n=1+1"]]


@pytest.mark.parametrize("text", ["'=1", "''=1", *PLAIN])
def test_a_cell_is_read_as_it_was(tmp_path, text):
    write(tmp_path, pd.DataFrame({"x": [text]}, index=pd.Index(["row"], name="corner")))
    assert writing.read_csv(tmp_path / "plain.csv").iloc[0].tolist() == ["row", text]


@pytest.mark.parametrize("text", PLAIN)
def test_numbers_and_plain_text_are_written_as_they_are(tmp_path, text):
    form = pd.DataFrame({"x": [text]}, index=pd.Index(["row"], name="corner"))
    assert write(tmp_path, form) == [["corner", "x"], ["row", text]]
    assert f"\n| row | {text} |\n" in (tmp_path / "plain.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", r"a\|b"),
        ("a\nb\r\nc", "a b c"),
        ("<script>", r"\<script\>"),
        ("*a* `b`", r"\*a\* \`b\`"),
        ("[a](http://x)", r"[a]\(http://x)"),
        ("a\\|b", r"a\\\|b"),
        ("0.5 [0.1, 0.9]", "0.5 [0.1, 0.9]"),
    ],
)
def test_a_cell_of_markdown_stays_one_cell_of_text(tmp_path, text, shown):
    write(tmp_path, pd.DataFrame({text: [text]}, index=pd.Index([text], name="corner")))
    lines = (tmp_path / "plain.md").read_text(encoding="utf-8").splitlines()
    assert lines[2:5] == [f"| corner | {shown} |", "|---|---:|", f"| {shown} | {shown} |"]


@pytest.mark.parametrize("text", FORMULAE)
def test_rows_of_numbers_and_text_hold_nothing_that_a_spreadsheet_runs(tmp_path, text):
    frame = pd.DataFrame({"x": [text, None], text: [0.1, -2.5], "n": [-1, 2], "hit": [True, False]})
    writing.write_rows(tmp_path / "rows.csv", frame, float_format="%.17g")
    with open(tmp_path / "rows.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["x", "'" + text, "n", "hit"],
        ["'" + text, "0.10000000000000001", "-1", "True"],
        ["", "-2.5", "2", "False"],
    ]


def test_every_csv_of_the_package_goes_through_one_module():
    writers = {path.name for path in (CHECKOUT / "src").rglob("*.py") if ".to_csv(" in path.read_text("utf-8")}
    scripts = {path.name for path in (CHECKOUT / "workflow").rglob("*.py") if ".to_csv(" in path.read_text("utf-8")}
    assert writers | scripts == {"writing.py"}
    assert not [path for path in (CHECKOUT / "src").rglob("*.py") if "csv.writer" in path.read_text("utf-8")]
