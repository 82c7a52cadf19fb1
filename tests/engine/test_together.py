"""Several prompts under few edits, on every class: as one whole forward of the plain model per prompt and edit."""

import oracles
import pytest
import torch
from plain_models import plain_model

from offcourse.data.architectures import ARCHITECTURES
from offcourse.engine import Engine
from offcourse.engine.edit_checks import agreement, require_agreement
from offcourse.engine.edit_pass import EditPass
from offcourse.engine.edits import Edit
from offcourse.engine.plain import PlainEngine
from offcourse.engine.together import hits_together, last_states_together, read_texts
from offcourse.errors import OffcourseError

CLOSE = dict(rtol=1e-4, atol=1e-5)
LONG = [0, *((7 * i) % 500 + 2 for i in range(19))]
# The second begins the first, the fourth is the second again with another continuation, the last has one token.
TEXTS = [(LONG, [11, 5]), (LONG[:8], [42]), ([3, 9, 27, 81], [9, 11, 5, 6]), (LONG[:8], [7, 300]), ([5], [8, 2, 1])]
TARGETS = [11, 42, 9, 7, 8]
EDITED = [
    ("residual", "last"),
    ("residual", "prompt"),
    ("residual", "answer"),
    ("residual", "all"),
    ("residual", "first"),
    ("heads", "answer"),
    ("heads", "all"),
]


@pytest.fixture(params=sorted(ARCHITECTURES))
def model(request, tiny):
    return tiny(request.param)


def edits_of(model, site: str, positions: str) -> list[Edit]:
    """Edits of the last layer, of the first one and of two layers; vectors that move some targets and not all."""
    shape = {"residual": (model.width,), "heads": (model.heads, model.head_dim), "logits": (model.vocabulary,)}[site]
    if positions == "first":
        shape = (3, *shape)
    generator = torch.Generator().manual_seed(7)
    sets = [(model.layers - 1,), (0,), (1, model.layers - 1)] if site != "logits" else [(0,), (0,)]
    return [
        Edit(site, "add", positions, {layer: 8 * torch.randn(*shape, generator=generator) for layer in some})
        for some in sets
    ]


def plain_logs(model, edit: Edit | None, prompt: list[int], rest: list[int]) -> torch.Tensor:
    """[tokens of the rest, vocabulary] log-probabilities where each of them is predicted, by one whole forward."""
    ids = prompt + rest
    if edit is None:
        found = oracles.logits(model, ids)
    else:
        chosen = oracles.edited_places(edit.positions, len(prompt), len(ids), len(next(iter(edit.values.values()))))
        found = oracles.edited(model, ids, chosen, edit.site, edit.operation, edit.values)
    return found.double().log_softmax(-1)[len(prompt) - 1 : -1]


def chosen(first: list[list[torch.Tensor]]) -> list[int]:
    """A target per text that some edits hit: the likeliest token under the first edit, or under the second."""
    return [int(mine[number % 2].argmax()) for number, mine in enumerate(first)]


def agree(model, engine, site: str, positions: str) -> None:
    """Raise unless log-probabilities and hits of all texts are those of one whole forward each."""
    edits = edits_of(model, site, positions)
    for (prompt, rest), (following, scores) in zip(TEXTS, read_texts(engine, TEXTS, edits), strict=True):
        plain = [plain_logs(model, edit, prompt, rest) for edit in (None, *edits)]
        expected = torch.stack([sum(logs[i, token] for i, token in enumerate(rest)) for logs in plain])
        assert expected.std() > 1e-3
        torch.testing.assert_close(scores.double(), expected, **CLOSE)
        torch.testing.assert_close(following.double(), torch.stack([logs[0] for logs in plain]), **CLOSE)
    prompts = [prompt for prompt, _ in TEXTS]
    first = [[plain_logs(model, edit, prompt, [1])[0] for edit in edits] for prompt in prompts]
    targets = chosen(first)
    expected = [[int(logs.argmax()) == target for logs in mine] for mine, target in zip(first, targets, strict=True)]
    assert {True, False} == {hit for mine in expected for hit in mine}
    assert hits_together(engine, prompts, targets, edits).tolist() == expected


@pytest.mark.parametrize("most", [1000, 24, 1])
@pytest.mark.parametrize(("site", "positions"), EDITED)
def test_texts_together_are_those_of_one_forward_each(tiny, site, positions, most):
    """All texts in one pass, several passes, and passes of one text and one edit."""
    model = tiny("Llama")
    agree(model, Engine(model, most), site, positions)


@pytest.mark.parametrize(("site", "positions"), [("residual", "all"), ("residual", "first"), ("heads", "answer")])
def test_every_class(model, site, positions):
    agree(model, Engine(model, 100), site, positions)


@pytest.mark.parametrize(
    ("name", "site", "positions"),
    [("Falcon", "residual", "answer"), ("Falcon", "heads", "all"), ("Jamba", "residual", "all")],
)
def test_a_class_without_rows_runs_whole_forwards(name, site, positions):
    model = plain_model(name)
    agree(model, PlainEngine(model, 64), site, positions)


def test_edits_of_logits(tiny):
    model = tiny("Gemma2")
    agree(model, Engine(model), "logits", "answer")


def test_texts_without_an_edit_and_behind_a_kept_beginning(tiny):
    model = tiny("Llama")
    engine = Engine(model, 24)
    for context, texts in ((None, TEXTS), (engine.keep(LONG[:6]), [(LONG, [11, 5]), (LONG[:8], [42, 4])])):
        for (prompt, rest), (following, [score]) in zip(texts, read_texts(engine, texts, (), context), strict=True):
            plain = plain_logs(model, None, prompt, rest)
            torch.testing.assert_close(following[0].double(), plain[0], **CLOSE)
            assert float(score) == pytest.approx(sum(float(plain[i, token]) for i, token in enumerate(rest)), rel=1e-5)
    edits = edits_of(model, "residual", "answer")
    kept = list(read_texts(engine, [(LONG, [11, 5])], edits, engine.keep(LONG[:6])))
    [(alone, _)] = read_texts(engine, [(LONG, [11, 5])], edits)
    torch.testing.assert_close(kept[0][0], alone, **CLOSE)
    with pytest.raises(ValueError, match="cannot be kept"):
        next(read_texts(engine, TEXTS, edits_of(model, "residual", "all"), engine.keep(LONG[:6])))


def test_ablated_to_zero_a_model_names_no_token(tiny):
    model = tiny("Llama")
    for site, size in (("residual", model.width), ("logits", model.vocabulary)):
        zero = Edit(site, "replace", "all", {model.layers - 1: torch.zeros(size)})
        prompts = [prompt for prompt, _ in TEXTS]
        assert not hits_together(Engine(model), prompts, TARGETS, [zero]).any()


def test_the_unedited_text_leaves_the_pass_above_the_last_edit(tiny):
    """Tokens through blocks: all below the edit once, and above it under the edit alone."""
    model = tiny("Llama")
    edit = edits_of(model, "residual", "all")[1]
    assert edit.begin == 1 and model.layers > 2
    seen = []

    def count(block, args):
        seen.append(args[0].shape[:2].numel())

    hooks = [block.register_forward_pre_hook(count) for block in model.blocks]
    last_states_together(Engine(model), TEXTS, [edit])
    for hook in hooks:
        hook.remove()
    assert seen == [sum(len(prompt) + len(rest) for prompt, rest in TEXTS)] * model.layers


def test_texts_agree_with_plain_forwards_and_wrong_ones_are_refused(tiny, monkeypatch):
    engine = Engine(tiny("Llama"))
    prompts, rests = zip(*TEXTS[:3], strict=True)
    edits = edits_of(engine.model, "residual", "answer")
    found = agreement(engine, prompts, edits, rests, together=True)
    assert found.error <= found.limit and 0 < found.limit <= 1e-4
    right = EditPass.chosen_tokens

    def of_the_first(self, edit, prompt):
        """As if all prompts were as long as the first one."""
        return right(self, edit, prompt if isinstance(prompt, int) else prompt[:1].expand(len(prompt)))

    monkeypatch.setattr(EditPass, "chosen_tokens", of_the_first)
    require_agreement(engine, prompts, edits, "m, x on t", rests)
    with pytest.raises(OffcourseError, match="the states under edits are not those of one plain forward"):
        require_agreement(engine, prompts, edits, "m, x on t", rests, together=True)
