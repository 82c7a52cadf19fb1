"""Edits of every site, operation and position, on every class: as one whole forward of the plain model per edit."""

from itertools import product

import oracles
import pytest
import torch
from plain_models import plain_model

from offcourse.data.architectures import ARCHITECTURES
from offcourse.engine import Engine
from offcourse.engine.edit_checks import agreement, require_agreement
from offcourse.engine.edit_pass import EditPass
from offcourse.engine.edited import read_edited, score_answers
from offcourse.engine.edits import OPERATIONS, POSITIONS, Edit, OperationRows
from offcourse.engine.plain import PlainEngine
from offcourse.errors import OffcourseError

CLOSE = dict(rtol=1e-4, atol=1e-5)
# Longer than the tiny models' sliding window of 16.
PROMPT = [0, *((7 * i) % 500 + 2 for i in range(19))]
ANSWERS = [[11, 5], [11, 7, 300], [42], [9, 11, 5, 6]]
EDITED = {"residual": ("last", "prompt", "answer", "all", "first"), "heads": ("last", "answer", "all")}


@pytest.fixture(params=sorted(ARCHITECTURES))
def model(request, tiny):
    return tiny(request.param)


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def value_of(model, site: str, operation: str, seed: int, rows: int = 0) -> torch.Tensor:
    """A value of a size that neither vanishes nor drowns what it edits."""
    shape = {
        "residual": (rows, model.width) if rows else (model.width,),
        "heads": (model.heads, model.head_dim),
        "logits": (model.vocabulary,),
    }[site]
    value = random(*shape, seed=seed)
    if operation in ("project_out", "add_keeping_norm"):
        return value / value.norm(dim=-1, keepdim=True)
    return 1 + value / 4 if operation == "scale" else value


def edits_of(model, site: str, operations: list[str], positions: str) -> list[Edit]:
    """Edits of one layer (first, middle, last), of two layers, and of all layers, in no order of layers.

    operations: each edit has the next one.
    """
    rows = 3 if positions == "first" else 0
    layers = [(model.layers - 1,), (0,), (1, model.layers - 1), (model.layers // 2,), tuple(range(model.layers))]
    return [
        Edit(
            site,
            operations[number % len(operations)],
            positions,
            {
                layer: value_of(model, site, operations[number % len(operations)], 10 * number + layer, rows)
                for layer in some
            },
        )
        for number, some in enumerate(layers)
    ]


def plain_scores(model, edit: Edit | None) -> list[float]:
    """The log-probability of each answer by one whole forward each."""
    scores = []
    for answer in ANSWERS:
        ids = PROMPT + answer
        if edit is None:
            logits = oracles.logits(model, ids)
        else:
            rows = len(next(iter(edit.values.values())))
            tokens = oracles.edited_places(edit.positions, len(PROMPT), len(ids), rows)
            logits = oracles.edited(model, ids, tokens, edit.site, edit.operation, edit.values)
        logs = logits.double().log_softmax(-1)
        scores.append(sum(float(logs[len(PROMPT) - 1 + i, token]) for i, token in enumerate(answer)))
    return scores


def agree(model, edits: list[Edit], budgets: tuple[int, ...], path=Engine) -> None:
    """Raise unless the engine's scores, with passes of these many tokens, are the plain ones and differ by edit."""
    expected = torch.tensor([plain_scores(model, edit) for edit in [None, *edits]])
    assert expected.std(0).min() > 1e-3
    for max_rows in budgets:
        torch.testing.assert_close(score_answers(path(model, max_rows), PROMPT, ANSWERS, edits), expected, **CLOSE)


SITES = [(site, positions) for site, known in EDITED.items() for positions in known]


@pytest.mark.parametrize(("site", "positions"), SITES)
def test_answers_under_edits_are_those_of_one_forward_each(model, site, positions):
    """Every class: edits together in one pass, and passes of one edit."""
    operations = list(OPERATIONS) if positions != "first" else ["add"]
    shift = SITES.index((site, positions))
    operations = [operations[(place + shift) % len(operations)] for place in range(len(operations))]
    agree(model, edits_of(model, site, operations, positions), (1000, 1))


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@pytest.mark.parametrize(("site", "positions"), SITES)
def test_every_operation_at_every_site_and_position(tiny, site, positions, operation):
    model = tiny("Llama")
    agree(model, edits_of(model, site, [operation], positions), (64,))


@pytest.mark.parametrize(("site", "positions"), SITES)
@pytest.mark.parametrize("name", ["Falcon", "Mamba", "Jamba"])
def test_a_class_without_rows_is_edited_by_whole_forwards(name, site, positions):
    model = plain_model(name)
    if site == "heads" and not model.heads:
        with pytest.raises(OffcourseError, match="without attention heads"):
            PlainEngine(model).capture_heads([PROMPT], [3])
        return
    edits = edits_of(model, site, ["add"] if positions == "first" else list(OPERATIONS), positions)
    agree(model, edits, (64,), PlainEngine)
    logits = Edit("logits", "add", "answer", {0: value_of(model, "logits", "add", 1)})
    found = read_edited(PlainEngine(model), PROMPT, 42, [logits], probability=True)
    expected = oracles.edited(model, PROMPT, [len(PROMPT) - 1], "logits", "add", logits.values)[-1].softmax(-1)[42]
    torch.testing.assert_close(found.probability[0], expected, **CLOSE)


@pytest.mark.parametrize("operation", ["add", "scale"])
def test_edits_of_logits_are_those_of_plain_logits(tiny, operation):
    model = tiny("Gemma2")
    edits = [Edit("logits", operation, "answer", {0: value_of(model, "logits", operation, seed)}) for seed in (1, 2)]
    expected = torch.tensor([plain_scores(model, edit) for edit in [None, *edits]])
    torch.testing.assert_close(score_answers(Engine(model), PROMPT, ANSWERS, edits), expected, **CLOSE)
    for edit, readout in zip(edits, read_all(model, PROMPT, 42, edits), strict=True):
        logits = oracles.edited(model, PROMPT, [len(PROMPT) - 1], "logits", operation, edit.values)[-1]
        assert readout[0] == pytest.approx(float(logits.softmax(-1)[42]), rel=1e-4)


def read_all(model, ids, target, edits) -> list[tuple[float, bool]]:
    found = read_edited(Engine(model), ids, target, edits, probability=True)
    return list(zip(found.probability.tolist(), found.hit.tolist(), strict=True))


@pytest.mark.parametrize(("site", "positions"), [("residual", "all"), ("heads", "answer")])
def test_hits_and_probabilities_of_one_token_are_those_of_one_forward_per_edit(model, site, positions):
    edits = edits_of(model, site, ["add"], positions)
    tokens = oracles.edited_places(positions, len(PROMPT), len(PROMPT))
    plain = [oracles.edited(model, PROMPT, tokens, site, "add", edit.values)[-1] for edit in edits]
    target = int(plain[2].argmax())
    expected = [float(logits.softmax(-1)[target]) for logits in plain]
    found = read_all(model, PROMPT, target, edits)
    assert [probability for probability, _ in found] == pytest.approx(expected, rel=1e-4)
    assert [hit for _, hit in found] == [int(logits.argmax()) == target for logits in plain]


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_rows_of_any_operation_are_edits_of_the_last_token(model, operation):
    values = [value_of(model, "residual", operation, seed) for seed in (1, 2)]
    rows = OperationRows(torch.stack(values), model.layers, operation=operation)
    _, found = Engine(model).read_rows(PROMPT, 42, rows)
    expected = [
        oracles.edited(model, PROMPT, [len(PROMPT) - 1], "residual", operation, {layer: value})[-1].softmax(-1)[42]
        for layer, value in product(range(model.layers), values)
    ]
    torch.testing.assert_close(found.probability, torch.stack(expected), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(("site", "positions"), [("residual", "all"), ("heads", "answer")])
def test_every_class_passes_the_check_of_edits(model, site, positions):
    edits = edits_of(model, site, ["add"], positions)
    found = agreement(Engine(model), [PROMPT, PROMPT[:9]], edits)
    assert found.error <= found.limit and 0 < found.limit <= 1e-4
    require_agreement(Engine(model), [PROMPT, PROMPT[:9]], edits, "here")


@pytest.mark.parametrize(("site", "positions"), [("residual", "all"), ("residual", "first"), ("heads", "all")])
def test_a_pass_that_edits_another_token_is_refused(tiny, monkeypatch, site, positions):
    engine = Engine(tiny("Llama"))
    edits = edits_of(engine.model, site, ["add"], positions)
    tokens = Edit.tokens

    def one_less(self, places, prompt):
        chosen = tokens(self, places, prompt).clone()
        chosen[0] = False
        return chosen

    monkeypatch.setattr(EditPass, "chosen_tokens", lambda self, edit, prompt: one_less(edit, self.places, prompt))
    with pytest.raises(OffcourseError, match=f"m, x on t: the states .* edits {positions} tokens of the {site} site"):
        require_agreement(engine, [PROMPT], edits, "m, x on t")


def test_a_prompt_of_one_token_and_a_kept_context_change_nothing(tiny):
    model = tiny("Llama")
    engine = Engine(model)
    edits = edits_of(model, "residual", ["add"], "answer")
    alone = score_answers(engine, PROMPT, ANSWERS, edits)
    torch.testing.assert_close(score_answers(engine, PROMPT, ANSWERS, edits, engine.keep(PROMPT[:5])), alone, **CLOSE)
    short = score_answers(engine, [7], ANSWERS, edits)
    expected = oracles.edited(model, [7, *ANSWERS[0]], [0, 1, 2], "residual", "add", edits[1].values).log_softmax(-1)
    assert float(short[2, 0]) == pytest.approx(float(expected[0, 11] + expected[1, 5]), rel=1e-4)


def test_a_kept_beginning_that_edits_would_change_is_refused(tiny):
    engine = Engine(tiny("Llama"))
    edits = edits_of(engine.model, "residual", ["add"], "all")
    with pytest.raises(ValueError, match="cannot be kept"):
        score_answers(engine, PROMPT, ANSWERS, edits, engine.keep(PROMPT[:5]))


def test_each_position_names_tokens_that_the_oracle_edits():
    for positions, chosen in POSITIONS.items():
        found = chosen(torch.arange(9), 5, 3).nonzero()[:, 0].tolist()
        assert found == oracles.edited_places(positions, 5, 9, 3)


@pytest.mark.parametrize("site", ["residual", "logits"])
def test_ablated_to_zero_a_model_names_no_token(tiny, site):
    model = tiny("Llama")
    size = model.width if site == "residual" else model.vocabulary
    edit = Edit(site, "scale", "last", {model.layers - 1: torch.zeros(size)})
    probability, hit = read_all(model, PROMPT, 42, [edit])[0]
    assert (probability, hit) == (pytest.approx(1 / model.vocabulary), False)
