"""A copy of the finished smoke study for each test of the workflow."""

import shutil

import pytest
from lab import Lab


@pytest.fixture
def lab(finished, tmp_path) -> Lab:
    """A copy of the finished study, with its times."""
    folder = tmp_path / "lab"
    shutil.copytree(finished.folder, folder, copy_function=shutil.copy2, symlinks=True)
    return Lab(folder)
