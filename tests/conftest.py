"""Fixtures that several folders share."""

import gc
import os
import shutil
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from forking import begin
from hypothesis import settings
from lab import Lab

from offcourse.data.architectures import ARCHITECTURES
from offcourse.models.load import LanguageModel
from offcourse.models.random import random_model

pytest_plugins = ["made_study", "released"]

torch.set_num_threads(1)
# `make test` hands its own flags to every make that a test starts, which then prints the folders it enters.
for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"):
    os.environ.pop(name, None)
# Tests check results, never speed.
settings.register_profile("offcourse", deadline=None)
settings.load_profile("offcourse")


# Files that take minutes each, the longest first, and folders of files that take long: they begin first, so that no
# core is left without work at the end.
LONGEST = (
    "slurm/test_slurm.py",
    "workflow/test_extending.py",
    "mutations/test_sample.py",
    "workflow/test_invalidation.py",
    "workflow/test_published.py",
    "workflow/test_healing.py",
    "workflow/test_smoke.py",
    "slurm/test_without_slurm.py",
    "test_commands.py",
)
LONG = ("workflow", "run", "plan", "audit", "graph", "architectures", "cli", "check_gpu")


def pytest_xdist_auto_num_workers(config):
    """One process more than cores: tests of Slurm and of whole runs wait half of their time."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_configure(config):
    """Begin the server of forks that pytest-xdist's processes share. Without them the first start begins one."""
    if config.getoption("numprocesses", None) and not config.getoption("collectonly"):
        begin()


def pytest_collection_modifyitems(items):
    """Put the files of `LONGEST` first, then those of the folders `LONG`; within a folder the order stays."""
    here = Path(__file__).parent

    def place(item):
        file, folder = os.path.relpath(item.path, here), item.path.parent.name
        if file in LONGEST:
            return LONGEST.index(file)
        return len(LONGEST) + (LONG.index(folder) if folder in LONG else len(LONG))

    items.sort(key=place)


def pytest_collection_finish():
    """What is imported by now stays, so no search for unused objects needs to look at it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny():
    """`tiny("Llama")`: a seeded random model of one class in float32; one instance per class and session."""
    made: dict[str, LanguageModel] = {}

    def make(name: str) -> LanguageModel:
        if name not in made:
            # Also for tests that do use gradients, whoever asks first.
            with torch.inference_mode(False):
                made[name] = LanguageModel(random_model(name, seed=1), ARCHITECTURES[name])
        return made[name]

    return make


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Lab:
    """The smoke study after a run. Tests must not change it: `lab` is a copy.

    OFFCOURSE_SMOKE: a folder where `make smoke` of this very checkout has run; without it the run starts from nothing.
    """
    if made := os.environ.get("OFFCOURSE_SMOKE"):
        return Lab(Path(made))
    # Processes of pytest-xdist share one run: the first one makes it, the others wait.
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if os.environ.get("PYTEST_XDIST_WORKER") else shared
    lab = Lab(shared / "smoke")
    with FileLock(shared / "smoke.lock"):
        if not lab.folder.exists():
            done = lab.snakemake()
            assert done.returncode == 0, done.stderr
    return lab


@pytest.fixture
def lab(finished, tmp_path) -> Lab:
    """A copy of the finished smoke study, with its times."""
    folder = tmp_path / "lab"
    shutil.copytree(finished.folder, folder, copy_function=shutil.copy2, symlinks=True)
    return Lab(folder)
