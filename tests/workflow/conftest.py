"""The smoke study, run once for real; tests take copies of the folder that it ran in."""

import os
import shutil
from pathlib import Path

import pytest
from lab import Lab


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Lab:
    """The smoke study after a run. Tests must not change it: `lab` is a copy.

    OFFCOURSE_SMOKE: a folder where `make smoke` of this very checkout has run; without it the run starts from nothing.
    """
    if made := os.environ.get("OFFCOURSE_SMOKE"):
        return Lab(Path(made))
    lab = Lab(tmp_path_factory.mktemp("smoke"))
    done = lab.snakemake()
    assert done.returncode == 0, done.stderr
    return lab


@pytest.fixture
def lab(finished, tmp_path) -> Lab:
    """A copy of the finished study, with its times."""
    folder = tmp_path / "lab"
    shutil.copytree(finished.folder, folder, copy_function=shutil.copy2, symlinks=True)
    return Lab(folder)
