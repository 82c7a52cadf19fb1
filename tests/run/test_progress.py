"""What a run shows: the line of progress, the log of a step at work, and the last ten lines."""

import io
import re
import shlex
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from lab import CHECKOUT, SMOKE

from offcourse.cli import main
from offcourse.run.heartbeat import heartbeat, told
from offcourse.run.progress import LIGHT, Run
from offcourse.run.summary import summary
from offcourse.study.config import read_study


def test_an_estimate_goes_by_jobs_that_are_done():
    run = Run(total=4, done=1, began=0, left=Counter(icl=2, table3=1), took={"icl": [40.0]})
    assert run.remaining(100) == 2 * 40 + LIGHT
    run.started = {7: ("icl", "tiny-llama", 90.0), 8: ("icl", "other", 90.0)}
    # Two jobs side by side, each 10 s old and 30 s from its end.
    assert run.remaining(100) == max(30, (2 * 40 + LIGHT - 20) / 2)
    assert run.line(100).startswith("1 of 4 jobs, 1 min 40 s so far, about 34 s left: icl tiny-llama (10 s), icl other")


def test_nothing_is_estimated_before_a_step_has_ended():
    assert Run(left=Counter(icl=2), took={"prepare_model": [9.0]}).remaining(10) is None


def test_a_step_at_work_says_so(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with heartbeat("icl tiny antonym", [4.0, 6.0], 2, pause=0.05):
        time.sleep(0.3)
    lines = sys.stderr.getvalue().splitlines()
    assert len(lines) >= 2
    assert re.fullmatch(r"icl tiny antonym: at work for 0 s, about 15 s left for this and 2 more", lines[0])


def test_the_first_unit_has_no_estimate():
    assert told("icl m t", 31.4, [], 2) == "icl m t: at work for 31 s, the first of 3"
    assert told("icl m t", 31.4, [], 0) == "icl m t: at work for 31 s"


def test_a_run_writes_plain_lines_and_no_more(lab):
    """A second run of a finished study, and one whose target does not exist: messages, not lines of progress."""
    done = lab.snakemake("--logger=offcourse", "--quiet", "host")
    assert done.returncode == 0 and "Nothing to be done" in done.stderr, done.stderr
    wrong = lab.snakemake("--logger=offcourse", "no_such_target")
    assert wrong.returncode != 0 and "No rule to produce no_such_target" in wrong.stderr


def test_one_job_is_told_in_a_line(lab):
    (lab.results / "tables" / "table3.md").unlink()
    done = lab.snakemake("--logger=offcourse")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d+ of \d+ jobs, \d+ s so far", done.stderr, re.M), done.stderr
    assert "rule table3:" not in done.stderr and "Job stats" not in done.stderr


def test_the_last_lines_say_what_was_found_and_what_next(lab, monkeypatch):
    monkeypatch.chdir(lab.folder)
    lines = summary(read_study(SMOKE), SMOKE)
    assert 6 <= len(lines) <= 12
    assert any("Table 3" in line for line in lines) and any("Table 1" in line for line in lines)
    [report] = [line.removeprefix("Report: ") for line in lines if line.startswith("Report: ")]
    assert (lab.folder / report).exists()
    [audited] = [line for line in lines if "offcourse audit" in line]
    assert f"--configfile {SMOKE}" in audited
    assert any("--configfile 'my study.yaml'" in line for line in summary(read_study(SMOKE), Path("my study.yaml")))
    # Each command works as the line has it.
    for line in lines:
        _, _, command = line.partition(": offcourse ")
        if command:
            monkeypatch.setattr("sys.argv", ["offcourse", *shlex.split(command)])
            with pytest.raises(SystemExit) as ended:
                main()
            assert ended.value.code == 0, line


def test_make_ends_with_them():
    text = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    assert "@$(BIN)/python -m offcourse.run.summary '$(CONFIG)'" in text
