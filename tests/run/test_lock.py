"""The lock of a run: real processes, one of which is killed."""

import subprocess
import sys

import pytest

from offcourse.errors import OffcourseError
from offcourse.run.lock import hold

HOLD = """
import sys
from pathlib import Path
from offcourse.run.lock import hold
hold(Path(sys.argv[1]))
hold(Path(sys.argv[1]))  # what this process has is no hindrance
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_told_who_holds_the_lock_until_that_one_is_killed(tmp_path):
    path = tmp_path / "deep" / "offcourse.lock"
    path.parent.mkdir()
    # Longer than what is written over it.
    path.write_text("process 123456789 on a host with a long name, which ended long ago")
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        for _ in range(2):
            with pytest.raises(OffcourseError, match=rf"another run is at work in .* \(process {other.pid} on \S+\)\."):
                hold(path)
        other.kill()
        other.wait()
        hold(path)
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 1 and "another run is at work" in done.stderr
