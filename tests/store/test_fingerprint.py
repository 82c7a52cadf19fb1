"""Fingerprints change with code, and not with comments, docstrings or layout."""

import pytest

from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS
from offcourse.store.fingerprint import (
    COUNTED,
    fingerprint,
    modules_behind,
    require_packages,
    source_digest,
    versions_behind,
)

CODE = '''
"""Module."""

def double(x):
    """Twice."""
    # why
    return 2 * x
'''


@pytest.mark.parametrize(
    "same",
    [
        CODE.replace("# why", "# because"),
        CODE.replace("Twice", "Two times"),
        CODE.replace('"""Module."""', ""),
        CODE.replace("2 * x", "(2\n            * x)"),
        CODE.replace("\n\ndef", "\n\n\n\ndef"),
    ],
    ids=["comment", "docstring", "module docstring", "layout", "blank lines"],
)
def test_what_is_not_code_does_not_count(same):
    assert source_digest(same) == source_digest(CODE)


@pytest.mark.parametrize("other", [CODE.replace("2 * x", "3 * x"), CODE.replace("double", "twice"), CODE + "\nX = 1\n"])
def test_code_counts(other):
    assert source_digest(other) != source_digest(CODE)


def test_a_function_of_nothing_but_its_docstring_is_still_a_function():
    assert source_digest('def f():\n    """Doc."""\n') != source_digest("")


def test_a_figure_does_not_reach_the_engine_and_a_step_does():
    figure = modules_behind("offcourse.figures.sweep:page")
    assert "offcourse.figures.style" in figure
    assert not [
        name for name in figure if name.startswith(("offcourse.engine", "offcourse.models", "offcourse.methods"))
    ]
    step = modules_behind(*STEPS["cie"].targets)
    assert {"offcourse.engine.run", "offcourse.engine.attention", "offcourse.models.load"} <= step.keys()
    assert not [name for name in step if name.split(".")[1:2] in (["tables"], ["figures"], ["report"])]
    assert "offcourse.methods.fv_sweep" not in step


def test_versions_are_those_that_the_code_imports():
    assert {"torch", "transformers"} <= versions_behind(*STEPS["cie"].targets).keys()
    assert "torch" not in versions_behind("offcourse.tables.table3:write")


def test_an_unknown_module_is_an_error():
    with pytest.raises(ValueError, match=r"offcourse\.nowhere"):
        fingerprint("offcourse.nowhere:nothing")


def test_an_environment_that_is_older_than_the_lock_is_told_what_it_lacks(monkeypatch):
    require_packages()
    monkeypatch.setitem(COUNTED, "not-yet-installed", "absent")
    with pytest.raises(OffcourseError, match=r"package not-yet-installed is not installed.*make install"):
        require_packages()
