"""Every class: the self-checks at load pass on its row of the table, and fail on a wrong row."""

import dataclasses

import pytest
import torch

from offcourse.models.architectures import ARCHITECTURES
from offcourse.models.checks import run_checks
from offcourse.models.load import LanguageModel, adds_bos
from offcourse.models.random import random_model, random_tokenizer

TEXT = "Q: big\nA: small\n\nQ: hot\nA:"


@pytest.fixture(params=sorted(ARCHITECTURES))
def name(request):
    return request.param


@pytest.mark.parametrize("bos", [True, False], ids=["bos", "no-bos"])
def test_checks_pass_on_every_class(name, bos):
    model = LanguageModel(random_model(name, seed=4), ARCHITECTURES[name])
    tokenizer = random_tokenizer([TEXT] * 3, bos)
    assert adds_bos(tokenizer) is bos
    report = run_checks(model, tokenizer, TEXT, bos)
    assert [check for check, result in report.items() if not result["passed"]] == []


def failed(row, module) -> set[str]:
    report = run_checks(LanguageModel(module, row), random_tokenizer([TEXT] * 3, True), TEXT, True)
    return {check for check, result in report.items() if not result["passed"]}


def test_a_forgotten_post_norm_is_noticed():
    row = dataclasses.replace(ARCHITECTURES["Gemma2"], post_norms=())
    assert "sub-layers sum to the block output" in failed(row, random_model("Gemma2", seed=4))


def test_a_wrong_final_norm_is_noticed():
    row = dataclasses.replace(ARCHITECTURES["Llama"], final_norm="model.layers.0.input_layernorm")
    assert "lens at the last layer equals the logits" in failed(row, random_model("Llama", seed=4))


def test_a_wrong_bos_policy_is_noticed():
    model = LanguageModel(random_model("Llama", seed=4), ARCHITECTURES["Llama"])
    report = run_checks(model, random_tokenizer([TEXT] * 3, True), TEXT, bos=False)
    assert not report["prompts start with BOS only if the tokenizer adds it"]["passed"]


def test_random_models_are_the_same_for_the_same_seed(name):
    first, again, other = (random_model(name, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
