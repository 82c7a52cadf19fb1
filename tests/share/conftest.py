"""Labs: one that prepared the model alone, one that ran a small study, one that ran it with other rounding."""

import labs
import pytest


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    return labs.prepared(tmp_path_factory.mktemp("labs") / "empty")


@pytest.fixture(scope="session")
def ran(empty, tmp_path_factory):
    base = labs.copy(empty, tmp_path_factory.mktemp("labs") / "ran")
    labs.run(base, labs.study())
    return base


@pytest.fixture(scope="session")
def archive(ran, tmp_path_factory):
    return labs.packed(ran, tmp_path_factory.mktemp("labs") / "one.tar.gz")


@pytest.fixture(scope="session")
def elsewhere(empty, tmp_path_factory):
    """The archive of a lab whose machine rounds otherwise, and which has stated its rounding floor."""
    base = labs.copy(empty, tmp_path_factory.mktemp("labs") / "elsewhere")
    labs.run_on_another_card(base, labs.study())
    labs.checked(base, labs.study())
    return labs.packed(base, tmp_path_factory.mktemp("labs") / "elsewhere.tar.zst")
