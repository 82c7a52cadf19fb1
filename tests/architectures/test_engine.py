"""Every class: the engine equals the plain model and the naive loops, whatever the chunk size."""

import oracles
import pandas as pd
import pytest
import torch

from offcourse.data.architectures import ARCHITECTURES
from offcourse.engine import Engine, HeadRows, ResidualRows
from offcourse.methods.cie import head_effects
from offcourse.methods.fv_sweep import sweep

CLOSE = dict(rtol=1e-4, atol=1e-9)
# Longer than the tiny models' sliding window of 16, and beginning with BOS.
LONG = [0, *((7 * i) % 500 + 2 for i in range(25))]
SHORT = [3, 9, 27]
TARGET = 81
with_and_without_bos = pytest.mark.parametrize(
    "ids", [LONG, LONG[1:], [0, *SHORT], SHORT], ids=["BOS, long", "long", "BOS, short", "short"]
)


def once(oracle):
    """The oracle, which answers each question once: chunk sizes and kernels of the engine change no plain answer."""
    known = {}

    def answer(model, ids, *more):
        words = (word.numpy().tobytes() if isinstance(word, torch.Tensor) else word for word in more)
        # `tiny` keeps every model to the end of the session.
        key = id(model), tuple(ids), *words
        if key not in known:
            known[key] = oracle(model, ids, *more)
        return known[key]

    return answer


probability, head_patched, residual_edited, each_residual_edited = map(
    once, (oracles.probability, oracles.head_patched, oracles.residual_edited, oracles.each_residual_edited)
)


@pytest.fixture(params=sorted(ARCHITECTURES))
def model(request, tiny):
    return tiny(request.param)


def asked(prompts, targets) -> pd.DataFrame:
    return pd.DataFrame({"token_ids": prompts, "target_id": targets})


def means(model) -> torch.Tensor:
    return torch.randn(model.layers, model.heads, model.head_dim, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("max_rows", [1, 5, 1000])
@with_and_without_bos
def test_head_rows_equal_one_forward_per_head(model, ids, max_rows):
    values = means(model)
    clean, found = Engine(model, max_rows).read_rows(ids, TARGET, HeadRows(values))
    assert float(clean.probability) == pytest.approx(probability(model, ids, TARGET), rel=1e-4)
    expected = [
        [head_patched(model, ids, TARGET, layer, head, values[layer, head]) for head in range(model.heads)]
        for layer in range(model.layers)
    ]
    torch.testing.assert_close(found.probability.view(model.layers, -1), torch.tensor(expected), **CLOSE)


@pytest.mark.parametrize("replace", [False, True], ids=["add", "replace"])
@pytest.mark.parametrize("max_rows", [1, 4, 1000])
@with_and_without_bos
def test_residual_rows_equal_one_forward_per_layer_and_edit(model, ids, max_rows, replace):
    vectors = torch.randn(3, model.width, generator=torch.Generator().manual_seed(3)) * torch.tensor([[0.5], [4], [60]])
    rows = ResidualRows(vectors, model.layers, replace)
    _, found = Engine(model, max_rows).read_rows(ids, TARGET, rows)
    plain = torch.stack([each_residual_edited(model, ids, layer, vectors, replace) for layer in range(model.layers)])
    wanted = plain.softmax(-1)[..., TARGET]
    torch.testing.assert_close(found.probability.view(model.layers, 3), wanted, **CLOSE)
    favourite = int(plain.argmax(-1).flatten().mode().values)
    _, hits = Engine(model, max_rows).read_rows(ids, favourite, rows, probability=False)
    assert hits.hit.view(model.layers, 3).tolist() == (plain.argmax(-1) == favourite).tolist()
    assert hits.hit.any()


@pytest.mark.parametrize("max_rows", [1, 7, 1000])
@pytest.mark.parametrize("ids", [LONG, SHORT], ids=["BOS, long", "short"])
@pytest.mark.parametrize("drop_bias", [False, True], ids=["bias kept", "bias dropped"])
def test_effects_equal_the_naive_loop(model, ids, max_rows, drop_bias):
    """The step's own function: the layout of layers and heads, and the difference to the unedited prompt."""
    values = means(model)
    clean = probability(model, ids, TARGET)
    expected = [
        [
            head_patched(model, ids, TARGET, layer, head, values[layer, head], drop_bias) - clean
            for head in range(model.heads)
        ]
        for layer in range(model.layers)
    ]
    found, unedited = head_effects(Engine(model, max_rows), asked([ids], [TARGET]), values, drop_bias)
    # An effect is a difference, as exact as the probabilities that it is made of.
    torch.testing.assert_close(found[0], torch.tensor(expected), rtol=1e-4, atol=2e-4 * clean + 1e-9)
    torch.testing.assert_close(unedited, torch.zeros(1, model.layers), rtol=0, atol=2e-4 * clean + 1e-9)


@pytest.mark.parametrize("max_rows", [1, 7, 1000])
@with_and_without_bos
def test_the_sweep_is_layers_by_edits(model, ids, max_rows):
    edits = torch.randn(3, model.width, generator=torch.Generator().manual_seed(5)) * torch.tensor([[1], [8], [60]])
    said = [each_residual_edited(model, ids, layer, edits).argmax(-1).tolist() for layer in range(model.layers)]
    for target in (said[0][1], said[2][2]):
        hits = sweep(Engine(model, max_rows), asked([ids], [target]), edits)
        assert hits.tolist() == [[[token == target for token in row] for row in said]]


@pytest.mark.parametrize("max_rows", [1, 40, 1000])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_forest_of_prompts_reads_as_each_prompt_alone(model, max_rows, attention):
    prompts = [LONG, LONG[:20] + SHORT, SHORT, [*SHORT, 5, 6], LONG[:7], LONG]
    targets = [TARGET, 5, 8, 13, 21, 34]
    found = Engine(model, max_rows, attention).read(prompts, targets)
    expected = [probability(model, ids, target) for ids, target in zip(prompts, targets, strict=True)]
    torch.testing.assert_close(found.probability, torch.tensor(expected), **CLOSE)


def test_captured_heads_are_the_projection_inputs(model):
    prompts, positions = [LONG, LONG[:9], SHORT], [len(LONG) - 2, 8, 2]
    found = Engine(model, 30).capture_heads(prompts, positions)
    for got, ids, position in zip(found, prompts, positions, strict=True):
        torch.testing.assert_close(got, oracles.head_outputs(model, ids, position), rtol=1e-4, atol=1e-5)


def test_a_dropped_output_bias_is_dropped_at_every_position(model):
    if all(projection.bias is None for projection in model.projections):
        # Nothing to drop: the switch must then change nothing at all.
        values = means(model)
        kept = Engine(model).read_rows(LONG, TARGET, HeadRows(values, only=1))[1].probability
        dropped = Engine(model).read_rows(LONG, TARGET, HeadRows(values, only=1), without_output_bias=1)[1].probability
        assert torch.equal(kept, dropped)
        return
    values = means(model)
    _, found = Engine(model).read_rows(LONG, TARGET, HeadRows(values, only=1), without_output_bias=1)
    expected = [head_patched(model, LONG, TARGET, 1, h, values[1, h], True) for h in range(model.heads)]
    torch.testing.assert_close(found.probability, torch.tensor(expected), **CLOSE)
    kept = [head_patched(model, LONG, TARGET, 1, h, values[1, h]) for h in range(model.heads)]
    assert max(abs(a - b) / b for a, b in zip(expected, kept, strict=True)) > 1e-3


# Prompts of several lengths, on both sides of the window, whose rows go through the model together.
TOGETHER = [LONG, SHORT, LONG[:18], [5], LONG[3:], [*SHORT, 7]]
TARGETS = [TARGET, 5, 8, 13, 21, 34]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("max_rows", [1, 90, 1000])
def test_prompts_that_go_together_read_as_each_prompt_alone(model, max_rows, attention):
    """Heads and sums are the same rows for every prompt; a task vector is the prompt's own."""
    engine = Engine(model, max_rows, attention)
    values = means(model)
    own = torch.randn(len(TOGETHER), model.layers, model.width, generator=torch.Generator().manual_seed(6)) * 3
    with_heads = list(engine.read_rows_each(TOGETHER, TARGETS, HeadRows(values, unedited=1)))
    added = list(engine.read_rows_each(TOGETHER, TARGETS, ResidualRows(own[0, :2], model.layers)))
    replaced = list(engine.predict_rows(TOGETHER, ResidualRows(own[:, :, None], model.layers, replace=True)))
    assert len(with_heads) == len(added) == len(replaced) == len(TOGETHER)
    for index, (ids, target) in enumerate(zip(TOGETHER, TARGETS, strict=True)):
        clean, found = with_heads[index]
        plain = probability(model, ids, target)
        assert float(clean.probability) == pytest.approx(plain, rel=1e-4)
        found = found.probability.view(model.layers, model.heads + 1)
        expected = [head_patched(model, ids, target, layer, 1, values[layer, 1]) for layer in range(model.layers)]
        torch.testing.assert_close(found[:, 1], torch.tensor(expected), **CLOSE)
        torch.testing.assert_close(found[:, -1], torch.full((model.layers,), plain), **CLOSE)
        for layer in range(model.layers):
            logits = residual_edited(model, ids, layer, own[0, 1], False)
            assert float(added[index][1].probability.view(-1, 2)[layer, 1]) == pytest.approx(
                float(logits.softmax(-1)[target]), rel=1e-4
            )
            logits = residual_edited(model, ids, layer, own[index, layer], True)
            assert int(replaced[index][1 + layer]) == int(logits.argmax())
