"""What a method returns is held against its contract before a number is made of it."""

import random

import numpy as np
import pytest
import torch
from test_contract import Usual

from offcourse.data.registry import Registry
from offcourse.engine import Engine
from offcourse.errors import OffcourseError
from offcourse.methods.contract_checks import require_hits, require_prompts, sets_of, values_of, vectors_of
from offcourse.steering import steering
from offcourse.study.check import check_study
from offcourse.study.config import load_study


def made(**facts):
    return type("Made", (Usual,), facts)()


@pytest.fixture
def model(tiny):
    return Engine(tiny("Llama")).model


def built(model, value, draw: int = 0):
    return vectors_of(made(), model, value, "made on t: build", "made", draw)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda shape: None, "got NoneType"),
        (lambda shape: [[1.0]], "got list"),
        (lambda shape: torch.full(shape, 1e300, dtype=torch.float64), "some of which are not finite in float32"),
        (lambda shape: torch.full(shape, float("nan")), "some of which are not finite"),
        (lambda shape: torch.ones(shape, dtype=torch.complex64), "of torch.complex64 on cpu"),
        (lambda shape: torch.ones(shape, dtype=torch.int64), "of torch.int64 on cpu"),
        (lambda shape: torch.ones(shape, device="meta"), "on meta, which is no floating-point number that can be"),
    ],
)
def test_what_is_no_vector_is_refused_with_the_module(model, value, said):
    with pytest.raises(OffcourseError, match=f"build must return finite vectors .*{said}") as refused:
        built(model, lambda: value((model.layers, model.width)))
    assert "Correct src/offcourse/steering/made.py." in str(refused.value)


def test_a_method_that_writes_into_the_model_is_refused(model):
    def build():
        with torch.no_grad():
            next(model.module.parameters())[0].mul_(1)
        return torch.ones(model.layers, model.width)

    with pytest.raises(OffcourseError, match="build changes weights of the model, which later steps use"):
        built(model, build)


def test_a_draw_without_a_key_gives_the_same_numbers_each_time(model):
    def build():
        number = random.random() + np.random.rand()
        return torch.randn(model.layers, model.width) + number

    states = random.getstate(), torch.get_rng_state()
    first, again, other = built(model, build), built(model, build), built(model, build, draw=1)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[1])


@pytest.mark.parametrize("sets", [[], [()], [(99,)], [(-1,)], [(1,), (1, 2)]])
def test_sets_that_no_sweep_can_tell_apart_are_refused(sets):
    with pytest.raises(OffcourseError, match=r"made: layer_sets\(4\) must return sets of layers from 0 to 3"):
        sets_of(made(layer_sets=lambda self, layers: sets), 4, "made")
    assert sets_of(made(layer_sets=lambda self, layers: [(0, 1), (1, 2)]), 4, "made") == [(0, 1), (1, 2)]


@pytest.mark.parametrize("applied", [torch.ones(4, 1), 3.0, None])
def test_values_of_another_shape_are_refused(applied):
    with pytest.raises(OffcourseError, match=r"made: apply at strength 2 must return a tensor \[4, 8\]"):
        values_of(made(apply=lambda self, vectors, strength: applied), torch.ones(4, 8), [2.0], "made")


@pytest.mark.parametrize("score", [torch.ones(3), torch.ones(2, dtype=torch.bool), [True] * 3])
def test_a_score_that_is_no_bool_for_each_edit_is_refused(score):
    with pytest.raises(OffcourseError, match="made: score must return a bool for each of the 3 edits"):
        require_hits(score, 3, "made")


@pytest.mark.parametrize("asked", [None, [[1, 2]], [[1], []], [[1], [2.5]], [[1], [512]], [[1], [-1]], ["ab", "cd"]])
def test_what_is_no_prompt_for_each_item_is_refused(asked):
    with pytest.raises(OffcourseError, match="made: ask must return the token ids of a prompt for each of the 2 items"):
        require_prompts(asked, 2, 512, "made")
    assert require_prompts([torch.tensor([1, 2]), (3,)], 2, 512, "made") == [[1, 2], [3]]


ON_TASKS = {"tasks": ["antonym"], "methods": ["function_vectors", "caa"]}
ON_QUESTIONS = {"methods": ["caa"], "caa": {"questions": ["misconceptions"], "strengths": [1, 4]}}


@pytest.mark.parametrize("units", [ON_TASKS, ON_QUESTIONS], ids=["tasks", "questions"])
@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"site": "residuals"}, "site = 'residuals'; did you mean 'residual'"),
        ({"operation": "project-out"}, "operation = 'project-out'; did you mean 'project_out'"),
        ({"positions": "everywhere"}, "positions = 'everywhere'; known: all, answer, first, last, prompt"),
        ({"site": "heads", "positions": "first"}, "caa: the positions first have a vector for each token"),
        ({"site": "logits", "positions": "first"}, "caa: the positions first have a vector for each token"),
        ({"site": "logits", "positions": "last"}, "caa: logits are edited wherever a token of an answer is predicted"),
        ({"operation": "project_out"}, "caa.strengths: (4|16) is more than the whole of the component"),
    ],
)
def test_edits_that_there_are_not_are_refused_before_anything_runs(monkeypatch, units, facts, said):
    for fact, word in facts.items():
        monkeypatch.setattr(type(steering("caa")), fact, word)
    study = load_study({"study": "one", "models": ["tiny-llama"], **units})
    with pytest.raises(OffcourseError, match=said):
        check_study(study, Registry.load())


@pytest.mark.parametrize("label", ["Difference in means", "DoLa", "Function vectors"])
def test_methods_of_one_label_are_refused(monkeypatch, label):
    study = load_study(
        {"study": "one", "models": ["tiny-llama"], "tasks": ["antonym"]}
        | {"methods": ["function_vectors", "mean_difference", "caa"]}
    )
    check_study(study, Registry.load())
    monkeypatch.setattr(type(steering("caa")), "label", label)
    with pytest.raises(OffcourseError, match=f"its label '{label}' is that of .*, and tables tell methods apart by it"):
        check_study(study, Registry.load())


@pytest.mark.parametrize("facts", [{"site": "logits"}, {"site": "heads"}, {"positions": "first"}])
def test_every_site_has_positions_that_it_can_have(monkeypatch, facts):
    for fact, word in facts.items():
        monkeypatch.setattr(type(steering("caa")), fact, word)
    check_study(load_study({"study": "one", "models": ["tiny-llama"], **ON_TASKS}), Registry.load())
