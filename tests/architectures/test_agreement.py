"""Every class and precision: the engine's own check passes on a healthy model and fails on a damaged one."""

import pytest
import torch

from offcourse.data.architectures import ARCHITECTURES
from offcourse.engine import Engine, attention
from offcourse.engine.checks import (
    CONTEXTS,
    FORESTS,
    ROWS_OF_HEADS,
    ROWS_OF_PROMPTS,
    ROWS_OF_STATES,
    TIMES_FLOOR,
    engine_agrees,
)
from offcourse.engine.rounding import no_edit, plain_states, relative, ways_apart
from offcourse.engine.row_pass import RowPass
from offcourse.models.load import DTYPES, LanguageModel
from offcourse.models.random import random_model

# Longer than the tiny models' sliding window of 16.
PROMPT = [0, *((7 * i) % 500 + 2 for i in range(25))]
EVERY = {ROWS_OF_STATES, ROWS_OF_HEADS, ROWS_OF_PROMPTS, FORESTS, CONTEXTS}
precisions = pytest.mark.parametrize("dtype", sorted(DTYPES))


def loaded(name: str, dtype: str) -> LanguageModel:
    return LanguageModel(random_model(name, seed=4).to(DTYPES[dtype]), ARCHITECTURES[name])


def failed(model: LanguageModel) -> set[str]:
    return {name for name, check in engine_agrees(Engine(model), PROMPT).items() if not check["passed"]}


@precisions
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_a_healthy_model_passes_well_below_the_limit(name, dtype):
    report = engine_agrees(Engine(loaded(name, dtype)), PROMPT)
    assert {name for name, check in report.items() if check["passed"]} == EVERY
    assert max(check["error"] / check["floor"] for check in report.values()) < TIMES_FLOOR / 2


@pytest.mark.parametrize("max_rows", [1, 3, 19, 20])
def test_passes_of_any_size_are_checked(max_rows):
    """The model has 4 layers of 4 heads, so a pass of 20 rows holds every head and no edit, and a smaller one does not.

    Of a model of 80 layers and 64 heads these are more than a pass has on a GPU.
    """
    report = engine_agrees(Engine(loaded("Llama", "float32"), max_rows), PROMPT)
    assert {name for name, check in report.items() if check["passed"]} == EVERY


@precisions
def test_rows_at_another_position_are_noticed(dtype, monkeypatch):
    plain = RowPass._with_rows

    def shifted(run, value, length, lead):
        # The rows are given the rotation of the first token.
        out = plain(run, value, length, lead)
        return tuple(torch.cat([part[:, :-1], part[:, :1]], 1) for part in out) if isinstance(out, tuple) else out

    monkeypatch.setattr(RowPass, "_with_rows", shifted)
    assert {ROWS_OF_STATES, ROWS_OF_HEADS} & failed(loaded("Llama", dtype))


@precisions
@pytest.mark.parametrize("name", ["Llama", "Mistral"])
def test_rows_that_attend_to_what_fills_a_prompt_up_are_noticed(name, dtype, monkeypatch):
    monkeypatch.setattr(attention, "_before_rows", lambda *args: None)
    assert failed(loaded(name, dtype)) == {ROWS_OF_PROMPTS}


@precisions
def test_rows_that_begin_at_what_fills_a_prompt_up_are_noticed(dtype, monkeypatch):
    monkeypatch.setattr(RowPass, "_ends", lambda run, sequence: sequence[:, run.lead - 1])
    assert failed(loaded("Llama", dtype)) == {ROWS_OF_PROMPTS}


@precisions
def test_a_missing_soft_cap_is_noticed(dtype, monkeypatch):
    monkeypatch.setattr(attention, "_capped", lambda scores, softcap: scores)
    assert failed(loaded("Gemma2", dtype)) == EVERY


@precisions
def test_a_forgotten_window_is_noticed(dtype, monkeypatch):
    plain = attention.attend
    monkeypatch.setattr(attention, "attend", lambda *args: plain(*args[:6], None))
    assert failed(loaded("Mistral", dtype)) >= {ROWS_OF_STATES, ROWS_OF_HEADS}


@precisions
def test_a_projection_that_treats_rows_otherwise_is_noticed(dtype):
    model = loaded("Qwen2", dtype)
    middle = model.projections[model.layers // 2]
    middle.register_forward_pre_hook(lambda module, args: (args[0] * (1 + 0.5 * (args[0].shape[1] > len(PROMPT))),))
    assert failed(model) >= {ROWS_OF_STATES, ROWS_OF_HEADS}


@precisions
def test_passes_that_are_cut_are_compared_as_well(dtype, monkeypatch):
    """The fault is in later passes (rows alone) only: they take the kept values of a neighbouring token."""
    plain = attention.attend

    def shifted(layer, query, key, value, *more):
        state = attention._running.get()
        if state.lead == 0:
            keys, values = state.kept[layer]
            state.kept[layer] = keys, values.roll(1, 1)
        return plain(layer, query, key, value, *more)

    monkeypatch.setattr(attention, "attend", shifted)
    assert failed(loaded("Olmo2", dtype)) == {ROWS_OF_STATES, ROWS_OF_HEADS}


def test_numbers_that_are_not_finite_do_not_pass():
    model = loaded("Llama", "float16")
    with torch.no_grad():
        model.blocks[1].get_submodule("mlp.down_proj").weight.mul_(1e5)
    report = engine_agrees(Engine(model), PROMPT)
    assert not any(check["passed"] for check in report.values())
    assert {check["error"] for check in report.values()} == {float("inf")}


@precisions
def test_the_floor_is_what_rounding_does(dtype):
    """The rounding floor falls with the step of the precision and is never zero."""
    model = loaded("Llama", dtype)
    expected = plain_states(model, [PROMPT])[0, -1]
    ways = ways_apart(model, PROMPT, no_edit, seed=0, batch=True)
    largest = max(relative(state, expected) for state in ways)
    step = torch.finfo(DTYPES[dtype]).eps
    assert 0.3 * step < largest < 30 * step
