"""The contract: what becomes a row and what an edit, shapes that are refused, and how hits are read."""

from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pandas as pd
import pytest
import torch

from offcourse.engine import Engine, ResidualRows
from offcourse.engine.edited import read_edited
from offcourse.engine.edits import OPERATIONS, POSITIONS, Edit
from offcourse.errors import OffcourseError
from offcourse.graph.steps import STEPS
from offcourse.methods import steering as methods
from offcourse.methods.steering import edits
from offcourse.steering import contract, steering
from offcourse.steering.contract import Settings, SteeringMethod

PROMPTS = [[0, 5, 17, 4, 90, 33], [0, 5, 9], [3, 9, 27, 81]]


class Usual(SteeringMethod):
    label, question, source = "usual", "?", "here"

    def build(self, context, task):
        raise NotImplementedError

    def passes(self, settings, shots, trials):
        return 0, 0


class Second(Usual):
    """An answer counts when the second row in a list of rows brings it: a `score` of the method's own."""

    def score(self, context, prompt, rows):
        hits = super().score(context, prompt, rows)
        return hits.roll(1)


@pytest.fixture
def asked(tiny):
    engine = Engine(tiny("Llama"))
    model = engine.model
    vectors = torch.randn(3, model.width, generator=torch.Generator().manual_seed(1)) * torch.tensor([[1], [20], [60]])
    rows = ResidualRows(vectors, model.layers)
    said = [engine.predict_rows([ids], rows) for ids in PROMPTS]
    # The answer of each prompt is what the second row of its third layer says, so that some rows hit.
    targets = [int(next(tokens)[1 + 7]) for tokens in said]
    return SimpleNamespace(engine=engine), pd.DataFrame({"token_ids": PROMPTS, "target_id": targets}), rows


@pytest.mark.parametrize("method", [Usual(), Second()])
def test_hits_of_prompts_that_go_together_are_those_of_each_prompt(asked, method):
    context, prompts, rows = asked
    together = torch.stack(list(method.scores(context, prompts, rows))).cpu()
    alone = torch.stack([method.score(context, prompt, rows) for prompt in prompts.itertuples()])
    assert torch.equal(together, alone)
    assert 0 < int(alone.sum()) < alone.numel()


def test_a_score_of_the_method_s_own_counts(asked):
    usual, second = (torch.stack(list(method.scores(*asked))) for method in (Usual(), Second()))
    assert torch.equal(second, usual.roll(1, 1)) and not torch.equal(second, usual)


def made(**facts) -> SteeringMethod:
    """A method with these facts of its class."""
    return type("Made", (Usual,), facts)()


@pytest.mark.parametrize(
    ("facts", "operation"),
    [({}, "add"), ({"replace": True}, "replace"), ({"operation": "scale"}, "scale"), ({"positions": "answer"}, "add")],
)
def test_one_layer_s_stream_at_the_last_token_is_a_row(asked, facts, operation):
    """Whatever the operation: rows and edits of the same values hit the same prompts."""
    context, prompts, _ = asked
    model, method = context.engine.model, made(**facts)
    values = torch.randn(model.layers, 2, model.width, generator=torch.Generator().manual_seed(4)) * 20
    rows = edits(method, values, method.layer_sets(model.layers))
    assert isinstance(rows, ResidualRows)
    found = torch.stack(list(method.scores(context, prompts, rows))).cpu()
    same = [
        Edit("residual", operation, "last", {layer: values[layer, strength]})
        for layer in range(model.layers)
        for strength in range(2)
    ]
    expected = [
        read_edited(context.engine, prompt.token_ids, prompt.target_id, same).hit for prompt in prompts.itertuples()
    ]
    assert torch.equal(found, torch.stack(expected))


def test_other_edits_are_one_per_layer_set_and_strength():
    values = torch.ones(4, 2, 3)
    values[1] = 0
    assert [sorted(edit.values) for edit in edits(made(together=True), values, [(0, 1, 2, 3)])] == [[0, 2, 3]] * 2
    pairs = [(0, 1), (1,), (2, 3)]
    found = edits(made(layer_sets=lambda self, layers: pairs), values, pairs)
    # A zero that is added changes nothing, but an edit stays an edit.
    assert [sorted(edit.values) for edit in found] == [[0], [0], [1], [1], [2, 3], [2, 3]]
    kept = edits(made(together=True, operation="replace"), values, [(0, 1, 2, 3)])
    assert [sorted(edit.values) for edit in kept] == [[0, 1, 2, 3]] * 2
    logits = made(site="logits")
    assert logits.layer_sets(4) == [(0,)] and edits(logits, torch.ones(1, 2, 9), [(0,)])[0].site == "logits"


def test_of_a_direction_that_is_projected_out_the_strength_is_the_share_taken_away():
    method = made(operation="project_out")
    vectors = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    state = torch.tensor([[2.0, 7.0]])
    for share in (1.0, 0.25):
        applied = method.apply(vectors, share)
        left = [OPERATIONS["project_out"](state, value)[0].tolist() for value in applied]
        assert left == [pytest.approx([2 * (1 - share), 7]), pytest.approx([2, 7 * (1 - share)])]


def test_the_words_of_the_contract_are_those_of_the_engine():
    assert set(get_args(contract.Operation)) == set(OPERATIONS)
    assert set(get_args(contract.Positions)) == set(POSITIONS)


@pytest.mark.parametrize(
    ("facts", "shape", "said"),
    [
        ({"site": "heads"}, (4, 32), r"\[layers, heads, head_dim\] = \[4, 4, 8\], got \[4, 32\]"),
        ({"site": "logits"}, (512,), r"\[1, vocabulary\] = \[1, 512\], got \[512\]"),
        ({"positions": "first"}, (4, 32), r"\[layers, tokens, width\] = \[4, any, 32\], got \[4, 32\]"),
        ({"positions": "first"}, (4, 0, 32), r".* = \[4, any, 32\], got \[4, 0, 32\]"),
        ({}, (4, 1, 32), r"\[layers, width\] = \[4, 32\], got \[4, 1, 32\]"),
    ],
)
def test_vectors_of_another_shape_are_refused_with_the_one_that_is_needed(asked, monkeypatch, facts, shape, said):
    model = asked[0].engine.model
    facts |= {"build": lambda self, context, task: torch.ones(shape)}
    monkeypatch.setattr(methods, "steering", lambda name: made(**facts))
    study, layout = SimpleNamespace(made=Settings()), SimpleNamespace(base=Path())
    context = SimpleNamespace(
        engine=asked[0].engine,
        step=SimpleNamespace(methods=["made"]),
        study=study,
        layout=layout,
        draw=0,
        shuffled=False,
    )
    assert (model.layers, model.heads, model.head_dim, model.width, model.vocabulary) == (4, 4, 8, 32, 512)
    with pytest.raises(OffcourseError, match=f"made on t: build must return finite vectors {said}"):
        methods.vectors(context, SimpleNamespace(name="t"))


def test_a_method_of_prompts_has_no_vector():
    with pytest.raises(NotImplementedError, match="Prompting has no vector"):
        steering("prompting").build(None, None)
    assert "prompting" not in STEPS and STEPS["prompting_sweep"].inputs == {"prompts": ("query", "icl")}
