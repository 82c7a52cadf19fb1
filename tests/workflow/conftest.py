"""The smoke study, run once for real; tests take copies of the folder that it ran in."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from lab import Lab


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
    """A copy of the finished study, with its times."""
    folder = tmp_path / "lab"
    shutil.copytree(finished.folder, folder, copy_function=shutil.copy2, symlinks=True)
    return Lab(folder)
