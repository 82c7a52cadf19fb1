"""The smoke study, run once for real; tests take copies of the folder that it ran in."""

import shutil

import pytest
from lab import Lab


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Lab:
    """The smoke study after a run from nothing. Tests must not change it: `lab` is a copy."""
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
