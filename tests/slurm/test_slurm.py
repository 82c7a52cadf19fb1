"""The smoke study through a real Slurm, with `snakemake --profile slurm` and everything that can go wrong on the way.

One run in the background (`Story`) while the tests of bad input submit nothing; then one test for each thing that went
wrong in it.
"""

import itertools
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from lab import CHECKOUT, SMOKE, Lab
from slurm_cluster import Cluster, run, wait_until
from slurm_runs import accounted, environment, running, slurm_command, snakemake, states

from benchmarks.startup import rules_of
from offcourse.files import sha256
from offcourse.graph.keys import steps_of
from offcourse.study.config import read_study

FAULTS = Path(__file__).parent / "faults.smk"
# The model, and thereby its Slurm job; and the rules that are in that.
MODEL = "tiny-llama"
RULES = sorted(rules_of(read_study(SMOKE)))
# What the story runs of the smoke study. That every rule is in its model's job is planned in test_without_slurm.py.
METHODS = ["task_vectors", "logit_lens"]
SUBMITTED = "has been submitted"


class Story(threading.Thread):
    """The study is started and killed, started again, and meets one fault after another; beside it, `faults.smk`."""

    def __init__(self, cluster: Cluster, folder: Path):
        super().__init__(daemon=True)
        self.cluster, self.folder = cluster, folder
        study = folder / "study.yaml"
        study.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | {"methods": METHODS}))
        self.lab, self.rules = Lab(folder / "smoke", study), sorted(rules_of(read_study(study)))
        self.killed: list[str] = []
        self.at_work: list[str] = []
        self.computed: set[tuple[str, ...]] = set()
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
        faults = slurm_command(self.folder / "faults", "--snakefile", FAULTS)
        first, beside = self.start_run("first", self._command()), self.start_run("faults", faults)
        self._wait(lambda: bool(running(MODEL)), first)
        self.killed = running(MODEL)
        first.kill()
        first.wait()
        # Of the job's some 700 MB, the first attempt gets 450.
        second = self.start_run("second", self._command(*of_each("mem_mb=450*attempt*attempt", self.rules)))
        # Cancelled when some of its steps are done and one is at work.
        self._wait(lambda: len({rule for rule, *_ in self.lab.computed(self._begun())}) > 1, second)
        run("scancel", *running(MODEL))
        self.computed = self.lab.computed(self._begun())
        self._wait(lambda: "from the store" in "".join(map(self.log, self.rules)) and bool(running(MODEL)), second)
        self.at_work = running(MODEL)
        self.cluster.stop_controller()
        time.sleep(5)
        self.cluster.start_controller()
        for process in (second, beside):
            assert process.wait(timeout=600) == 0, self.said("second") + self.said("faults")

    def _command(self, *more) -> list[str]:
        return slurm_command(self.lab.folder, *more, study=self.lab.configfile)

    def _begun(self) -> set[tuple[str, str]]:
        return {(rule, MODEL) for rule in self.rules if self.log(rule)}

    def log(self, rule: str) -> str:
        path = self.lab.results / "logs" / rule / f"{MODEL}.log"
        return path.read_text() if path.is_file() else ""

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


def of_each(asked: str, rules: list[str] = RULES) -> list[str]:
    """An option that gives every rule of the model's job so much."""
    return ["--set-resources", *(f"{rule}:{asked}" for rule in rules)]


def test_a_partition_that_is_not_there_is_named(begun, tmp_path):
    message = refused(tmp_path, "--set-resources", "icl:slurm_partition=gpus")
    assert "no partition 'gpus', which rule icl asks for; did you mean 'gpu'?" in message


def test_more_cards_than_a_node_has_are_refused(begun, tmp_path):
    message = refused(tmp_path, "--set-resources", "icl:gpu=5")
    assert "rule icl asks for 5 cards and 4 CPUs of one node; those of partition gpu have 4 and 16" in message


def test_the_steps_of_a_model_are_in_one_partition(begun, tmp_path):
    message = refused(tmp_path, "--set-resources", "icl:slurm_partition=cpu")
    assert "all that runs tiny-llama is one Slurm job" in message and "icl in cpu" in message


def test_the_time_of_a_model_s_job_is_that_of_all_its_steps(begun, tmp_path):
    message = refused(tmp_path, *of_each("runtime=300"))
    assert f"the job of tiny-llama asks for {300 * len(RULES)} minutes; partition gpu allows 1440" in message


def test_the_study_is_whole(story):
    assert (story.lab.results / "report.html").stat().st_size > 10_000
    assert story.lab.status() == (0, {})
    audit = story.lab.offcourse("audit", "--all")
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_its_results_are_those_of_a_run_without_slurm(story, finished):
    here, there = (lab.results / "tiny-llama" for lab in (story.lab, finished))
    # A study with fewer methods has fewer kinds of prompts.
    steps = steps_of(read_study(story.lab.configfile)).keys() - {"prompts"}
    names = {path.relative_to(there) for path in there.rglob("*.*") if path.suffix in (".parquet", ".safetensors")}
    names = {name for name in names if name.parts[0] in steps}
    assert {name.parts[0] for name in names} == steps and len(steps) > 4
    assert {name: sha256(here / name) for name in names} == {name: sha256(there / name) for name in names}


def test_a_model_is_one_job_with_its_cards_whatever_goes_wrong(story):
    jobs = accounted(MODEL)
    assert [job["State"].split()[0] for job in jobs] == ["CANCELLED", "FAILED", "CANCELLED", "COMPLETED"]
    assert [job["Comment"] for job in jobs if "gres/gpu=1" in job["AllocTRES"]] == [job["Comment"] for job in jobs]
    assert {part for job in jobs for part in job["AllocTRES"].split(",") if part.startswith("cpu=")} == {"cpu=4"}
    # No rule of the model has a job of its own; names of other rules may begin alike (dola_changes).
    alone = {job["Comment"].partition("_wildcards")[0] for job in accounted("")}
    assert not alone & {f"rule_{rule}" for rule in RULES}


def test_tables_and_figures_are_one_job_without_a_card(story):
    [job] = accounted("tables_and_figures")
    assert (job["State"], job["ReqMem"]) == ("COMPLETED", f"{4 * 3000}M")
    assert "gres/gpu" not in job["AllocTRES"] and "cpu=4" in job["AllocTRES"].split(",")
    records = [json.loads(path.read_text())["made"] for path in (story.lab.results / "provenance").glob("*.json")]
    assert sum(made["slurm_job"] == job["JobID"] for made in records) > 5


def test_its_steps_ran_one_after_the_other(story):
    made = [json.loads(path.read_text())["made"] for path in (story.lab.results / "provenance" / MODEL).rglob("*.json")]
    spans = sorted((each["started"], each["ended"]) for each in made if each["slurm_job"] in story.at_work)
    # How many steps are left for this job is a matter of when the one before was cancelled.
    assert len(spans) > 1
    assert all(ended <= started for (_, ended), (started, _) in itertools.pairwise(spans))


def test_jobs_of_a_killed_run_are_ended_and_made_again(story):
    [ended] = re.findall("ended Slurm jobs of an earlier run: (.*)", story.said("second"))
    assert story.killed and set(story.killed) <= set(ended.split(", "))
    assert accounted(MODEL)[0]["JobID"] in story.killed


def test_a_job_that_exceeds_its_memory_gets_more(story):
    _, first, *more = accounted(MODEL)
    [log] = (story.lab.folder / ".snakemake" / "slurm_logs").rglob(f"{first['JobID']}.log")
    assert "Exceeded job memory limit" in log.read_text()
    assert [job["ReqMem"] for job in (first, *more)] == ["450M", "1800M", "4050M"]


def test_what_a_cancelled_job_had_computed_is_not_computed_again(story):
    assert len({step for step, *_ in story.computed}) > 1
    logs = "".join(map(story.log, story.rules))
    assert {found for found in story.computed if f"{' '.join(found)}: from the store" not in logs} == set()


def test_a_job_that_exceeds_its_time_gets_more(story):
    assert [(job["State"], job["Timelimit"]) for job in accounted("over_time")] == [
        ("TIMEOUT", "00:01:00"),
        ("COMPLETED", "00:02:00"),
    ]


def test_a_job_of_several_of_which_one_fails_is_submitted_again(story):
    assert states("pair_fails_once_goes_well") == ["FAILED", "COMPLETED"]
    assert (story.folder / "faults" / "fails_once").read_text() == "done\n"


def test_a_restart_of_the_controller_loses_no_job(story):
    """The job that was at work went on and was not made again, and none is left."""
    assert [job["JobID"] for job in accounted(MODEL)][-1:] == story.at_work
    assert run("squeue", "-h") == ""
