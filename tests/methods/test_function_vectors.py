"""Vectors, ranking and the protocol switches of function vectors, each by the difference it makes."""

import oracles
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from offcourse.data.architectures import ARCHITECTURES
from offcourse.engine import Engine, HeadRows, ResidualRows
from offcourse.methods.cie import head_effects
from offcourse.methods.function_vectors import function_vector
from offcourse.models.weights import output_projections

IDS = [0, 5, 17, 4, 90, 33, 21]
TARGET = 12
CLOSE = dict(rtol=1e-4, atol=1e-9)

# For properties: any class, prompts from one token to more than a sliding window, and any cut into chunks.
SETTINGS = settings(max_examples=40)
NAMES = st.sampled_from(sorted(ARCHITECTURES))
PROMPTS = st.lists(st.integers(0, 511), min_size=1, max_size=24)
BUDGETS = st.integers(1, 30)
STRENGTHS = st.floats(-40, 40, width=32)


def means(model, seed=0):
    return torch.randn(model.layers, model.heads, model.head_dim, generator=torch.Generator().manual_seed(seed))


def projections(model):
    return {
        layer: (p.weight.data, None if p.bias is None else p.bias.data) for layer, p in enumerate(model.projections)
    }


@pytest.mark.parametrize("name", ["Llama", "GPTNeoX", "Gemma3"])
def test_a_vector_is_the_projection_of_one_head_at_a_time(tiny, name):
    """Oracle: call the model's own projection on an input that is zero but for one head (it then adds its bias)."""
    model = tiny(name)
    values, heads = means(model), [(0, 1), (2, 3), (2, 0)]
    expected, biases = torch.zeros(model.width), torch.zeros(model.width)
    with torch.inference_mode():
        for layer, head in heads:
            slots = torch.zeros(model.heads, model.head_dim)
            slots[head] = values[layer, head]
            expected += model.projections[layer](slots.flatten())
            if model.projections[layer].bias is not None:
                biases += model.projections[layer].bias
    torch.testing.assert_close(function_vector(values, heads, projections(model), with_bias=True), expected)
    torch.testing.assert_close(function_vector(values, heads, projections(model), with_bias=False), expected - biases)
    assert bool(biases.any()) == (name == "GPTNeoX")


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_single_weights_of_a_folder_are_the_loaded_models(tiny, name, tmp_path):
    model = tiny(name)
    model.module.save_pretrained(tmp_path)
    found = output_projections(tmp_path, ARCHITECTURES[name], {0, 3})
    assert set(found) == {0, 3}
    for layer, (weight, bias) in found.items():
        assert torch.equal(weight, model.projections[layer].weight)
        assert (bias is None) == (model.projections[layer].bias is None)


def effects(model, values, drop_bias) -> torch.Tensor:
    prompts = pd.DataFrame({"token_ids": [IDS], "target_id": [TARGET]})
    return head_effects(Engine(model), prompts, values, drop_bias)[0][0]


@pytest.mark.parametrize("drop_bias", [True, False])
def test_effects_equal_the_naive_loop_and_show_the_switch(tiny, drop_bias):
    model = tiny("GPTNeoX")
    values = means(model)
    got = effects(model, values, drop_bias)
    clean = oracles.probability(model, IDS, TARGET)
    expected = [
        [
            oracles.head_patched(model, IDS, TARGET, lay, h, values[lay, h], drop_bias) - clean
            for h in range(model.heads)
        ]
        for lay in range(model.layers)
    ]
    torch.testing.assert_close(got, torch.tensor(expected), rtol=1e-3, atol=1e-7)
    other = effects(model, values, not drop_bias)
    assert float((got - other).abs().max()) > 1e-5


def test_dropping_a_bias_that_does_not_exist_changes_nothing(tiny):
    model = tiny("Llama")
    found = [effects(model, means(model), drop) for drop in (True, False)]
    assert torch.equal(*found)


@SETTINGS
@given(
    name=NAMES,
    edits=st.lists(st.sampled_from([0.0, 0.5, 3.0, 40.0]), min_size=1, max_size=6),
    max_rows=BUDGETS,
    data=st.data(),
)
def test_residual_rows_do_not_depend_on_their_order_number_or_chunks(tiny, name, edits, max_rows, data):
    model = tiny(name)
    direction = torch.randn(model.width, generator=torch.Generator().manual_seed(9))
    vectors = torch.stack([strength * direction for strength in edits])
    order = data.draw(st.permutations(range(len(edits))))
    clean, whole = Engine(model).read_rows(IDS, TARGET, ResidualRows(vectors, model.layers))
    _, cut = Engine(model, max_rows).read_rows(IDS, TARGET, ResidualRows(vectors[order], model.layers))
    whole = whole.probability.view(model.layers, -1)
    torch.testing.assert_close(cut.probability.view(model.layers, -1), whole[:, order], **CLOSE)
    for index, strength in enumerate(edits):
        if strength == 0:
            torch.testing.assert_close(whole[:, index], clean.probability.expand(model.layers), **CLOSE)


@SETTINGS
@given(name=NAMES, ids=PROMPTS, strengths=st.tuples(STRENGTHS, STRENGTHS), layer=st.integers(0, 3), max_rows=BUDGETS)
def test_two_edits_at_one_layer_add_up(tiny, name, ids, strengths, layer, max_rows):
    """One row with the sum is one forward with both, each added by a hook of its own."""
    model = tiny(name)
    directions = torch.randn(2, model.width, generator=torch.Generator().manual_seed(4))
    first, second = (strength * direction for strength, direction in zip(strengths, directions, strict=True))

    def add_first(module, args, out):
        hidden = (out[0] if isinstance(out, tuple) else out).clone()
        hidden[0, -1] += first
        return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

    handle = model.blocks[layer].register_forward_hook(add_first)
    try:
        expected = oracles.residual_edited(model, ids, layer, second).softmax(-1)
    finally:
        handle.remove()
    target = int(expected.argmax())
    rows = ResidualRows((first + second)[None], model.layers)
    _, found = Engine(model, max_rows).read_rows(ids, target, rows)
    assert float(found.probability[layer]) == pytest.approx(float(expected[target]), rel=1e-4)


@SETTINGS
@given(name=NAMES, ids=PROMPTS, max_rows=BUDGETS)
def test_a_head_replaced_by_its_own_output_changes_nothing(tiny, name, ids, max_rows):
    model = tiny(name)
    own = oracles.head_outputs(model, ids, -1)
    clean = oracles.logits(model, ids)[-1].softmax(-1)
    target = int(clean.argmax())
    _, found = Engine(model, max_rows).read_rows(ids, target, HeadRows(own))
    torch.testing.assert_close(found.probability, clean[target].expand(len(found.probability)), **CLOSE)


@SETTINGS
@given(name=NAMES, ids=PROMPTS, layer=st.integers(0, 3), head=st.integers(0, 3), max_rows=BUDGETS)
def test_each_head_row_shows_its_own_value_whatever_the_chunks(tiny, name, ids, layer, head, max_rows):
    """Another value for one head changes the row of that layer and head and no other; a layer alone is its slice."""
    model = tiny(name)
    values, changed = means(model), means(model)
    changed[layer, head] += 10
    shape = (model.layers, model.heads)

    def read(rows, budget="auto"):
        return Engine(model, budget).read_rows(ids, TARGET, rows)[1].probability

    whole = read(HeadRows(values)).view(shape)
    cut = read(HeadRows(changed), max_rows).view(shape)
    torch.testing.assert_close(read(HeadRows(values, only=layer), max_rows), whole[layer], **CLOSE)
    same = torch.ones(shape, dtype=torch.bool)
    same[layer, head] = False
    torch.testing.assert_close(cut[same], whole[same], **CLOSE)
    expected = oracles.head_patched(model, ids, TARGET, layer, head, changed[layer, head])
    assert float(cut[layer, head]) == pytest.approx(expected, rel=1e-4, abs=1e-9)
