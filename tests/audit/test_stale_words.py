"""What an audit says of files that are whole but were made from older code, and of files that are damaged."""

import pytest

from offcourse.audit.finding import INTACT, MISSING, STALE, TAMPERED, Finding, damaged
from offcourse.cli.audit import _mark, _print_advice

OLDER = Finding("results/s/tables/table3.csv", STALE, "code of offcourse.analysis.recovery; parameter template: a -> b")
AGAIN = "snakemake --cores all --configfile config.yaml"


def test_stale_files_are_whole_and_the_advice_names_each_change_once_and_the_command(capsys):
    assert not damaged([OLDER, OLDER]) and not damaged([Finding("a", INTACT)])
    _print_advice([OLDER, OLDER], AGAIN)
    said = capsys.readouterr().out
    assert said.startswith("No file is damaged") and said.rstrip().endswith(AGAIN)
    assert said.count("code of offcourse.analysis.recovery") == said.count("parameter template: a -> b") == 1
    assert "NOT INTACT" not in _mark([OLDER.as_dict()]) and "STALE" in _mark([OLDER.as_dict()])


@pytest.mark.parametrize("state", [MISSING, TAMPERED])
def test_a_damaged_or_missing_file_is_not_called_stale(state, capsys):
    wrong = [OLDER, Finding("results/s/tables/table3.md", state, "the file is gone")]
    assert damaged(wrong)
    _print_advice(wrong, AGAIN)
    assert capsys.readouterr().out == ""
    assert "NOT INTACT" in _mark([finding.as_dict() for finding in wrong])


def test_nothing_is_said_of_intact_files(capsys):
    _print_advice([], AGAIN)
    assert capsys.readouterr().out == "" and _mark([]) == ""
