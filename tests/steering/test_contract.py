"""How a steering method's hits are read: many prompts together, or prompt by prompt where the method has a `score`."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from offcourse.engine import Engine, ResidualRows
from offcourse.steering.contract import SteeringMethod

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
