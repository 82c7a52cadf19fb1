"""A sample of the mutation test (`make mutations` does all of it), and the code that runs held against the keys.

A change of a tracked table. Changes of the configuration and of code are in tests/workflow/test_invalidation.py, one of
a model's tokenizer in tests/workflow/test_keys.py.
"""

import os
import subprocess

import pytest
from forking import environment, python
from lab import CHECKOUT, Lab

SAMPLE = (r"resources/tasks\.tsv: task_vector_match",)


@pytest.fixture(scope="module")
def sampled(finished: Lab) -> subprocess.CompletedProcess:
    command = [python(), "-m", "mutations", "--study", finished.folder, "--only", f"^({'|'.join(SAMPLE)})$"]
    path = os.pathsep.join([str(CHECKOUT / "tests"), str(CHECKOUT / "src")])
    return subprocess.run(
        [*map(str, command), "--processes", "1", "--as-finished"],
        env=environment() | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def test_what_a_change_moves_is_made_again(sampled):
    assert sampled.returncode == 0, sampled.stdout + sampled.stderr
    assert f"{len(SAMPLE)} changes, 0 faults" in sampled.stdout


def test_code_that_runs_for_a_result_is_in_its_key(sampled):
    assert "0 functions ran for a result whose key does not hold them" in sampled.stdout, sampled.stdout
