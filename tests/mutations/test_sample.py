"""A sample of the mutation test (`make mutations` does all of it), and the code that runs held against the keys.

A change of a tracked table. Changes of the configuration and of code are in tests/workflow/test_invalidation.py, one of
a model's tokenizer in tests/workflow/test_keys.py. Of the study of steering methods, which `make mutations` runs first,
what its changes hold is here.
"""

import os
import subprocess

import pytest
import yaml
from forking import environment, python
from lab import CHECKOUT, SMOKE, Lab

from mutations import steering
from offcourse.data.names import STEERING
from offcourse.graph.keys import steps_of
from offcourse.graph.steps import STEPS, part_of
from offcourse.study.config import load_study

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


def test_the_two_studies_have_every_kind_of_step():
    """A new kind of step needs a place in one of them."""
    here = {
        name for asked in (yaml.safe_load(SMOKE.read_text()), steering.STUDY) for name in steps_of(load_study(asked))
    }
    kinds = {part for _, part in map(part_of, STEPS) if part}
    assert {part for _, part in map(part_of, here) if part} == kinds == set(steering.KINDS) - {""}
    assert {name for name in STEPS if not part_of(name)[1] and name not in STEERING} <= here


def test_every_change_of_code_finds_its_place():
    code = CHECKOUT / "src" / "offcourse"
    for name, (old, new) in steering.CODE.items():
        assert (code / name).read_text(encoding="utf-8").count(old) == 1 and old != new, name


def test_a_vector_file_with_other_facts_is_another_file(tmp_path):
    digests = [
        steering.write_vectors(tmp_path / "v", **facts) for facts in ({}, {"positions": "last"}, {"scale": 2.0}, {})
    ]
    assert digests[0] == digests[3] and len(set(digests)) == 3
    assert load_study(steering.config_of(digests[0])).vector_file.sha256 == digests[0]
