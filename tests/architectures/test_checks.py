"""Every class: the self-checks at load pass on its row of the table, and fail on a wrong row."""

import dataclasses

import pytest
import torch
from transformers import AutoTokenizer

from offcourse.data.architectures import ARCHITECTURES
from offcourse.models.checks import run_checks
from offcourse.models.load import LanguageModel
from offcourse.models.random import random_model, random_tokenizer
from offcourse.models.tokenizer import Tokenizer

TEXT = "Q: big\nA: small\n\nQ: hot\nA:"


@pytest.fixture(params=sorted(ARCHITECTURES))
def name(request):
    return request.param


def check(row, module, tmp_path, bos=True, plain_ids=None) -> set[str]:
    """Names of the checks that fail."""
    module.config.save_pretrained(tmp_path)
    random_tokenizer([TEXT] * 3, bos).save_pretrained(tmp_path)
    tokenizer = Tokenizer(tmp_path)
    assert tokenizer.adds_bos is bos
    plain = AutoTokenizer.from_pretrained(tmp_path)(TEXT).input_ids if plain_ids is None else plain_ids
    report = run_checks(LanguageModel(module, row), tokenizer, plain, TEXT)
    return {check for check, result in report.items() if not result["passed"]}


@pytest.mark.parametrize("bos", [True, False], ids=["bos", "no-bos"])
def test_checks_pass_on_every_class(name, bos, tmp_path):
    assert check(ARCHITECTURES[name], random_model(name, seed=4), tmp_path, bos) == set()


def test_a_forgotten_post_norm_is_noticed(tmp_path):
    row = dataclasses.replace(ARCHITECTURES["Gemma2"], post_norms=())
    assert "sub-layers sum to the block output" in check(row, random_model("Gemma2", seed=4), tmp_path)


def test_a_wrong_final_norm_is_noticed(tmp_path):
    row = dataclasses.replace(ARCHITECTURES["Llama"], final_norm="model.layers.0.input_layernorm")
    assert "lens at the last layer equals the logits" in check(row, random_model("Llama", seed=4), tmp_path)


def test_another_tokenizer_is_noticed(tmp_path):
    failed = check(ARCHITECTURES["Llama"], random_model("Llama", seed=4), tmp_path, plain_ids=[1, 2, 3])
    assert failed == {"the tokenizer is that of transformers"}


def test_a_token_in_front_that_is_not_the_models_bos_is_noticed(tmp_path):
    model = random_model("Llama", seed=4)
    model.config.bos_token_id = 7
    assert check(ARCHITECTURES["Llama"], model, tmp_path) == {"a token in front of the text is BOS"}


def test_random_models_are_the_same_for_the_same_seed(name):
    first, again, other = (random_model(name, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
