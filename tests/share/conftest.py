"""A lab that ran a small study, and one that prepared the model alone."""

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
