"""The plain path: whole forwards, one prompt or one length a batch, against the class's own forwards one by one."""

import oracles
import pytest
import torch
from plain_models import plain_model

from offcourse.engine import HeadRows, ResidualRows
from offcourse.engine.plain import PlainEngine
from offcourse.engine.plain_checks import BATCHES_OF_STATES, BY_HAND, POSITIONS, plain_agrees
from offcourse.errors import OffcourseError
from offcourse.models.plain import PlainModel

PROMPT = [0, *((7 * i) % 500 + 2 for i in range(11))]
PROMPTS = [PROMPT, PROMPT[:5], PROMPT[::-1], PROMPT[:5][::-1], PROMPT[:1]]
# A parallel block that adds into what a part returned, layers with a state alone, and both kinds of layers.
CLASSES = ["Falcon", "Mamba", "Jamba"]


@pytest.fixture(scope="module", params=CLASSES)
def model(request) -> PlainModel:
    return plain_model(request.param)


def close(found, expected) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=3e-5 * float(expected.abs().max()))


def by_transformers(model, ids) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Every block's input [sequence, width] and the logits. Mamba's list of states begins behind its first block."""
    hidden, logits = oracles.plain_hidden_states(model, ids)
    if model.architecture.name == "Mamba":
        embedded = model.module.get_input_embeddings()(torch.tensor(ids))
        hidden = [embedded, *hidden[: model.layers - 1]]
    return hidden, logits


def test_the_checks_at_load_pass(model):
    found = plain_agrees(PlainEngine(model), PROMPT)
    assert all(check["passed"] for check in found.values()), found


def test_the_checks_at_load_pass_in_half_precision():
    for name, dtype in (("Falcon", torch.float16), ("Mamba", torch.bfloat16)):
        whole = plain_model(name)
        half = PlainModel(whole.module.to(dtype), whole.architecture)
        assert all(check["passed"] for check in plain_agrees(PlainEngine(half), PROMPT).values())
        assert PlainEngine(half).read(PROMPTS, [3] * len(PROMPTS)).probability.dtype == torch.float32


def test_prompts_of_several_lengths_are_read_as_each_alone(model):
    expected = torch.stack([oracles.logits(model, ids)[-1] for ids in PROMPTS])
    for tokens in (1, 12, 1000):
        engine = PlainEngine(model, tokens)
        found = engine.read(PROMPTS, [9, 8, 7, 6, 5])
        at = torch.arange(len(PROMPTS)), torch.tensor([9, 8, 7, 6, 5])
        close(found.probability, expected.softmax(-1)[at])
        assert torch.equal(engine.predict(PROMPTS), expected.argmax(-1))


def test_a_batch_holds_prompts_of_one_length_within_the_budget(model):
    shapes = []
    handle = model.module.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    try:
        PlainEngine(model, 24).capture_residuals(PROMPTS)
        assert sorted(shapes) == [(1, 1), (2, 5), (2, 12)]
        shapes.clear()
        PlainEngine(model, 30).row_states([PROMPT], ResidualRows(torch.zeros(3, model.width), model.layers))
        assert set(shapes) == {(1, 12), (2, 12)} and sum(count for count, _ in shapes) == 1 + 3 * model.layers
    finally:
        handle.remove()


@torch.inference_mode()
def test_captured_states_and_readings_are_those_of_transformers(model):
    engine = PlainEngine(model, 30)
    plain = [by_transformers(model, ids) for ids in PROMPTS]
    residuals = engine.capture_residuals(PROMPTS)
    parts = list(engine.readings(PROMPTS))
    assert [part.prompts for part in parts] != [slice(0, len(PROMPTS))]
    for part in parts:
        for row, (hidden, logits) in enumerate(plain[part.prompts]):
            close(model.head(part.final[row]), logits[-1])
            for layer in range(model.layers):
                close(part.hidden[layer][row].float(), hidden[layer][-1].float())
                if layer:
                    close(residuals[part.prompts.start + row, layer - 1], hidden[layer][-1].float())
                added = part.attention[layer][row] + part.mlp[layer][row].nan_to_num(0.0)
                close(part.hidden[layer][row] + added, residuals[part.prompts.start + row, layer])
            assert bool(part.mlp[0].isnan().all()) is (model.mlp_width == 0)


@torch.inference_mode()
def test_positions_share_the_states_of_a_beginning(model):
    ids = [PROMPT, [*PROMPT[:8], 99], PROMPT[:8]]
    engine = PlainEngine(model)
    [part] = engine.states(ids, [[6, 7, 10], [7], [7]], [0, model.layers - 1], engine.keep(PROMPT[:3]))
    assert len(part.final) == 3 and part.where == [[0, 1, 2], [1], [1]]
    hidden, logits = by_transformers(model, PROMPT)
    for row, place in zip(part.where[0], (6, 7, 10), strict=True):
        close(model.head(part.final[row]), logits[place])
        close(part.hidden[model.layers - 1][row], hidden[model.layers - 1][place])


@pytest.mark.parametrize("name", ["Falcon", "Bloom"])
def test_replaced_heads_and_a_dropped_bias_equal_one_forward_per_head(name):
    model = plain_model(name, **({"bias": True} if name == "Falcon" else {}))
    values = torch.randn(model.layers, model.heads, model.head_dim, generator=torch.Generator().manual_seed(1))
    engine, target = PlainEngine(model, 50), 17
    own = engine.capture_heads([PROMPT], [4])[0]
    close(own, oracles.head_outputs(model, PROMPT, 4))
    for layer, dropped in ((None, None), (2, 2)):
        rows = HeadRows(values, only=layer, unedited=1)
        clean, found = engine.read_rows(PROMPT, target, rows, without_output_bias=dropped)
        layers = range(model.layers) if layer is None else [layer]
        expected = [
            oracles.head_patched(model, PROMPT, target, at, head, values[at, head], drop_bias=dropped is not None)
            for at in layers
            for head in range(model.heads)
        ]
        found = found.probability.view(len(layers), model.heads + 1)
        close(found[:, :-1].flatten(), torch.tensor(expected))
        close(found[:, -1], clean.probability.expand(len(layers)))
        assert model.projections[0].bias is not None and float(found.std()) > 0


@pytest.mark.parametrize("name", ["Mamba", "Jamba"])
def test_heads_of_a_class_without_them_are_refused_by_name(name):
    with pytest.raises(OffcourseError, match=f"{name}ForCausalLM has blocks without attention heads"):
        PlainEngine(plain_model(name)).capture_heads([PROMPT], [3])


def failing(model, monkeypatch, change) -> set[str]:
    """The checks at load that fail once `change(plain method)` has taken the place of a method."""
    name, make = change
    monkeypatch.setattr(PlainEngine, name, make(getattr(PlainEngine, name)))
    return {check for check, found in plain_agrees(PlainEngine(model), PROMPT).items() if not found["passed"]}


@pytest.mark.parametrize(
    ("change", "noticed"),
    [
        # The hooks of the edits go to the neighbouring elements of the batch.
        (
            ("_edit", lambda plain: lambda self, rows, piece, start: plain(self, rows, piece, max(0, start - 1))),
            BY_HAND,
        ),
        # The edits do nothing.
        (("_edited", lambda plain: lambda self, ids, rows: [self._run([ids] * 12)[:, -1]]), BATCHES_OF_STATES),
        # A state is read one token early.
        (
            (
                "states",
                lambda plain: lambda self, ids, at, *more: plain(self, ids, [[p - 1 for p in r] for r in at], *more),
            ),
            POSITIONS,
        ),
    ],
    ids=["neighbour", "nothing", "early"],
)
def test_a_damaged_plain_path_is_noticed(change, noticed, monkeypatch):
    assert noticed in failing(plain_model("Jamba"), monkeypatch, change)
