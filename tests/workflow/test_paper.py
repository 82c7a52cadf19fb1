"""The whole study's graph: refused while its models are not pinned, quick and small once they are."""

import os
import re
import resource
import shutil
import subprocess
import sys

import hub
import pytest
from forking import environment, python
from lab import CHECKOUT

from benchmarks import startup
from offcourse.data.names import RESOURCES
from offcourse.data.pins import LOCK
from offcourse.data.registry import Registry
from offcourse.study.config import read_study

# What a user waits for, and what a login node grants; a busy machine takes a few times its usual 10 s.
SECONDS, BYTES = 30, 1 << 30


def unpinned(folder):
    """The tracked resources, without a lock."""
    shutil.copytree(RESOURCES, folder, ignore=shutil.ignore_patterns("downloads", LOCK))
    return folder


def dry_run(tmp_path, resources, program: str, limit=None) -> subprocess.CompletedProcess:
    """`snakemake -n` of the paper's study. program: Python. limit: called in the process before it begins."""
    command = [program, "-m", "snakemake", "-n", "--cores", "1"]
    command += ["--configfile", "studies/paper.yaml", "--directory", str(tmp_path / "run")]
    more = {"OFFCOURSE_RESOURCES": str(resources), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=CHECKOUT, env=environment() | more, preexec_fn=limit
    )


def limit() -> None:
    """At most `BYTES` of memory and `SECONDS` of processor time."""
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def test_an_unpinned_study_stops_with_one_message(tmp_path):
    resources = unpinned(tmp_path / "resources")
    done = dry_run(tmp_path, resources, python())
    assert done.returncode != 0
    # Snakemake says first which profile it uses.
    [said] = [line for line in done.stderr.splitlines() if "profile" not in line]
    assert said.startswith("offcourse: 42 of the study's models are not pinned to a commit: gpt-j-6b, ")
    assert said.endswith(f"where the hub can be reached, and commit {resources / LOCK}.")


@pytest.fixture(scope="module")
def pinned(tmp_path_factory):
    """The tracked resources with every model of the hub pinned."""
    folder = tmp_path_factory.mktemp("pinned")
    resources = unpinned(folder / "resources")
    with hub.serving(hub.Hub()) as served:
        own = {"OFFCOURSE_RESOURCES": str(resources)} | served.environment(folder / "home")
        subprocess.run([python(), "-m", "offcourse", "pin"], env=environment() | own, check=True, capture_output=True)
    return resources


# What a rule's name, files and parameters do not need, and what takes long to import.
HEAVY = {"matplotlib", "scipy.stats", "sklearn", "statsmodels", "torch", "transformers"}


def test_a_slurm_job_of_it_starts_without_what_only_steps_and_drawings_need(tmp_path, pinned):
    study = CHECKOUT / "studies" / "paper.yaml"
    startup.ready(read_study(study), Registry.load(locked=False), tmp_path)
    found = startup.start(study, tmp_path, os.environ | {"OFFCOURSE_RESOURCES": str(pinned)})
    assert {"snakemake", "offcourse.published.files", "offcourse.published.side_by_side"} <= found.modules
    assert not HEAVY & found.modules


def test_a_pinned_study_has_its_jobs_in_little_time_and_memory(tmp_path, pinned):
    """That paper-corrected differs in protocol and precision only is in tests/study/test_whole_studies.py."""
    done = dry_run(tmp_path, pinned, sys.executable, limit)
    assert done.returncode == 0, done.stderr
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, flags=re.MULTILINE))
    expected = {
        "check_model": 42,
        "prompts": 36,
        "cie": 36,
        "fv_sweep": 36,
        "task_vectors": 29,
        "dola": 10,
        "readings": 15,
    }
    assert {rule: int(jobs[rule]) for rule in expected} == expected
