"""The smoke study through a real Slurm, with `snakemake --profile slurm` and everything that can go wrong on the way.

One run in the background (`Story`) while the tests of bad input submit nothing; then one test for each thing that went
wrong in it.
"""

import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import CHECKOUT, Lab
from slurm_cluster import Cluster, run, wait_until
from slurm_runs import accounted, environment, running, slurm_command, snakemake, states, with_resources

from offcourse.artefacts import sha256

FAULTS = Path(__file__).parent / "faults.smk"
SUBMITTED = "has been submitted"


class Story(threading.Thread):
    """The study is started and killed, started again, and meets one fault after another; beside it, `faults.smk`."""

    def __init__(self, cluster: Cluster, folder: Path):
        super().__init__(daemon=True)
        self.cluster, self.folder, self.lab = cluster, folder, Lab(folder / "smoke")
        self.killed: list[str] = []
        self.at_work: list[str] = []
        self.error: BaseException | None = None
        self.processes: list[subprocess.Popen] = []

    def run(self):
        try:
            self.tell()
        except BaseException as error:
            self.error = error
        finally:
            for process in self.processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()

    def tell(self) -> None:
        # Of readings' some 700 MB, the first attempt gets 450.
        words = slurm_command(self.lab.folder, *with_resources("readings:mem_mb=450*attempt*attempt"))
        faults = slurm_command(self.folder / "faults", "--snakefile", FAULTS)
        first, beside = self.start_run("first", words), self.start_run("faults", faults)
        self._wait(lambda: bool(running("check_model")), first)
        self.killed = running("check_model")
        first.kill()
        first.wait()
        second = self.start_run("second", words)
        self._wait(lambda: bool(running("icl")), second)
        run("scancel", *running("icl"))
        self._wait(lambda: sum(map(len, map(running, ("task_vectors", "head_means", "dola")))) >= 2, second)
        self.at_work = [rule for rule in ("task_vectors", "head_means", "dola") if running(rule)]
        self.cluster.stop_controller()
        time.sleep(5)
        self.cluster.start_controller()
        for process in (second, beside):
            assert process.wait(timeout=600) == 0, self.said("second") + self.said("faults")

    def start_run(self, name: str, words: list[str]) -> subprocess.Popen:
        with open(self.folder / f"{name}.out", "w") as out:
            process = subprocess.Popen(words, cwd=CHECKOUT, env=environment(), stdout=out, stderr=out)
        self.processes.append(process)
        return process

    def _wait(self, true: Callable[[], bool], process: subprocess.Popen) -> None:
        def reached() -> bool:
            assert process.poll() is None, self.said("first") + self.said("second")
            return true()

        wait_until(reached, 180, "a job")

    def said(self, name: str) -> str:
        path = self.folder / f"{name}.out"
        return path.read_text() if path.is_file() else ""


@pytest.fixture(scope="module")
def begun(cluster, tmp_path_factory):
    folder = tmp_path_factory.mktemp("story")
    story = Story(cluster, folder)
    story.start()
    yield story
    story.join()


@pytest.fixture
def story(begun) -> Story:
    """The story when it is over."""
    begun.join()
    if begun.error:
        raise begun.error
    return begun


def refused(folder: Path, *more) -> str:
    """The message with which a run ends before it submits anything."""
    done = snakemake(folder, *more)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert SUBMITTED not in said and "Traceback" not in said
    [message] = [line for line in said.splitlines() if line.startswith("offcourse: ")]
    return message


def test_a_partition_that_is_not_there_is_named(begun, tmp_path):
    message = refused(tmp_path, *with_resources("icl:slurm_partition=gpus"))
    assert "no partition 'gpus', which rule icl asks for; did you mean 'gpu'?" in message


def test_more_cards_than_a_node_has_are_refused(begun, tmp_path):
    message = refused(tmp_path, *with_resources("icl:gpu=5"))
    assert "rule icl asks for 5 cards and 4 CPUs of one node; those of partition gpu have 4 and 16" in message


def test_the_study_is_whole(story):
    assert (story.lab.results / "report.html").stat().st_size > 10_000
    assert story.lab.status() == (0, {})
    audit = story.lab.offcourse("audit", "--all")
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_its_results_are_those_of_a_run_without_slurm(story, finished):
    here, there = (lab.results / "tiny-llama" for lab in (story.lab, finished))
    names = {path.relative_to(there) for path in there.rglob("*.*") if path.suffix in (".parquet", ".safetensors")}
    assert len(names) > 15
    assert {name: sha256(here / name) for name in names} == {name: sha256(there / name) for name in names}


def test_jobs_of_a_killed_run_are_ended_and_made_again(story):
    [ended] = re.findall("ended Slurm jobs of an earlier run: (.*)", story.said("second"))
    assert story.killed and set(story.killed) <= set(ended.split(", "))
    assert states("check_model") == ["CANCELLED", "COMPLETED"]


def test_a_job_that_exceeds_its_memory_gets_more(story):
    first, *_, last = accounted("readings")
    [log] = story.lab.folder.glob(f".snakemake/slurm_logs/rule_readings/*/{first['JobID']}.log")
    assert "Exceeded job memory limit" in log.read_text()
    assert (first["ReqMem"], last["ReqMem"]) == ("450M", "1800M")
    assert (first["State"], last["State"]) == ("FAILED", "COMPLETED")


def test_a_cancelled_job_is_submitted_again(story):
    assert states("icl")[0] == "CANCELLED" and states("icl")[-1] == "COMPLETED"


def test_a_job_that_exceeds_its_time_gets_more(story):
    assert [(job["State"], job["Timelimit"]) for job in accounted("over_time")] == [
        ("TIMEOUT", "00:01:00"),
        ("COMPLETED", "00:02:00"),
    ]


def test_a_job_that_fails_once_is_submitted_again(story):
    assert states("fails_once") == ["FAILED", "COMPLETED"]


def test_a_restart_of_the_controller_loses_no_job(story):
    """Jobs that were at work went on and were not made again, and none is left."""
    assert len(story.at_work) >= 2
    for rule in story.at_work:
        assert states(rule) == ["COMPLETED"]
    assert run("squeue", "-h") == ""
