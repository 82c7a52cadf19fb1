"""Cards of this machine: which there are, and that no card has two jobs. `nvidia-smi` is a script that lists cards.

No GPU is needed: what is tested is what jobs are shown and the locks between real processes.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from pretended_driver import pretend

from offcourse.errors import OffcourseError
from offcourse.run import cards
from offcourse.run.cards import VISIBLE, WITHOUT_CARD, Card, cards_here, held, require_usable

TWO = [Card("GPU-0a", 24e9), Card("GPU-0b", 24e9)]
# Takes cards, writes down when and which, and keeps them for a while.
JOB = """
import os, sys, time
from pathlib import Path
from offcourse.run.cards import Card, held
folder, count, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
with held(count, [Card("GPU-0a", 24e9), Card("GPU-0b", 24e9)], folder / "locks"):
    begin = time.monotonic()
    (folder / f"{os.getpid()}.began").touch()
    time.sleep(seconds)
    visible = os.environ["CUDA_VISIBLE_DEVICES"]
    with open(folder / "said", "a") as said:
        said.write(f"{begin} {time.monotonic()} {visible}\\n")
"""


def job(folder: Path, count: int, seconds: float) -> subprocess.Popen:
    words = [sys.executable, "-c", JOB, str(folder), str(count), str(seconds)]
    return subprocess.Popen(words, stderr=subprocess.PIPE, text=True)


def begun(folder: Path, process: subprocess.Popen, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (folder / f"{process.pid}.began").exists():
            return True
        time.sleep(0.05)
    return False


def test_jobs_never_share_a_card_and_one_that_needs_both_gets_both(tmp_path):
    jobs = [job(tmp_path, count, 0.4) for count in (1, 2, 1, 2, 1)]
    assert [process.wait(timeout=60) for process in jobs] == [0] * 5
    spans = [line.split() for line in (tmp_path / "said").read_text().splitlines()]
    assert sorted(names.count("GPU") for _, _, names in spans) == [1, 1, 1, 2, 2]
    for name in ("GPU-0a", "GPU-0b"):
        of_card = sorted((float(begin), float(end)) for begin, end, names in spans if name in names.split(","))
        assert all(end <= begin for (_, end), (begin, _) in zip(of_card, of_card[1:], strict=False))


def test_a_job_that_wants_the_same_card_waits_and_says_for_whom_until_that_one_is_killed(tmp_path):
    first = job(tmp_path, 2, 600)
    assert begun(tmp_path, first)
    second = job(tmp_path, 1, 0)
    assert not begun(tmp_path, second, 2)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert second.wait(timeout=30) == 0
    said = second.stderr.read()
    assert f"waiting for 1 of 2 cards; at work: GPU-0a (process {first.pid} on " in said
    assert "cards of this job: GPU-0a\n" in said


def test_a_job_sees_its_cards_and_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setenv(VISIBLE, "1,0")
    with held(1, TWO, tmp_path):
        assert os.environ[VISIBLE] == "GPU-0a"
        with held(1, TWO, tmp_path):
            assert os.environ[VISIBLE] == "GPU-0b"
    assert os.environ[VISIBLE] == "1,0"
    with held(2, TWO, tmp_path):
        assert os.environ[VISIBLE] == "GPU-0a,GPU-0b"
    with pytest.raises(OffcourseError, match="needs 3 cards, and 2 are there now"), held(3, TWO, tmp_path):
        pass


def test_the_cards_are_those_of_the_driver_that_are_visible(tmp_path, monkeypatch):
    pretend(tmp_path, monkeypatch, "0, GPU-0a, 24564", "1, GPU-0b, 81559")
    monkeypatch.delenv(VISIBLE, raising=False)
    one, other = Card("GPU-0a", 24564 * 2**20), Card("GPU-0b", 81559 * 2**20)
    expected = {None: [one, other], "1": [other], "1,0": [other, one], "GPU-0b": [other], "": [], "-1": []}
    for asked, found in expected.items():
        if asked is not None:
            monkeypatch.setenv(VISIBLE, asked)
        assert cards_here() == found
    for wrong in ("2", "GPU-0", "0,x"):
        monkeypatch.setenv(VISIBLE, wrong)
        with pytest.raises(OffcourseError, match=r"names '.+', which is not one GPU .* 0 \(GPU-0a\), 1 \(GPU-0b\)"):
            cards_here()


def test_without_a_driver_there_is_no_card(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cards_here() == []


def test_a_damaged_driver_is_one_message(tmp_path, monkeypatch):
    said = "Failed to initialize NVML: Driver/library version mismatch"
    pretend(tmp_path, monkeypatch, said, status=18)
    monkeypatch.delenv(VISIBLE, raising=False)
    with pytest.raises(OffcourseError, match=rf"nvidia-smi lists no cards \({said}\).*Restart the machine"):
        cards_here()
    pretend(tmp_path, monkeypatch, "0, GPU-0a, [N/A]")
    with pytest.raises(OffcourseError, match=r"says '0, GPU-0a, \[N/A\]' instead of a number, a UUID and MiB"):
        cards_here()
    pretend(tmp_path, monkeypatch, "No devices were found", status=6)
    assert cards_here() == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="this torch can use a GPU")
def test_a_job_whose_card_torch_cannot_use_stops_with_torch_s_reason(tmp_path, monkeypatch):
    """It would run on the processors for days: torch says no more than a warning."""
    monkeypatch.delenv(WITHOUT_CARD, raising=False)
    require_usable(0)
    with pytest.raises(OffcourseError, match=r"cannot use the GPU of this job: .*Update the driver, or install"):
        require_usable(1)
    monkeypatch.setenv(WITHOUT_CARD, "allow")
    require_usable(1)


def test_a_driver_that_is_too_old_is_named(tmp_path, monkeypatch):
    """No driver can be had here: the error is the one that torch raises, by its text."""
    words = "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver."

    def init():
        raise RuntimeError(words)

    monkeypatch.delenv(WITHOUT_CARD, raising=False)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    pretend(tmp_path, monkeypatch, "470.57.02")
    with pytest.raises(OffcourseError) as told:
        require_usable(2)
    assert "(built for CUDA 13.0) cannot use the GPUs of this job: The NVIDIA driver on your system" in str(told.value)
    assert "is too old (found version 11040)" in str(told.value) and "The driver is version 470.57.02." in str(
        told.value
    )


def test_fewer_cards_than_a_job_was_given_are_no_cards(monkeypatch):
    monkeypatch.delenv(WITHOUT_CARD, raising=False)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    require_usable(1)
    with pytest.raises(OffcourseError, match="it sees 1 of the 2 cards that this job was given"):
        require_usable(2)


def test_locks_are_the_user_s_own():
    assert cards.locks_folder().name.endswith(str(os.getuid()))
