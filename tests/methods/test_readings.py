"""Logit lens and apathy against the plain model's hidden states, one forward per prompt, on all nine classes."""

import pytest
import torch
from homemade import with_model
from oracles import plain_hidden_states

from offcourse.data.architectures import ARCHITECTURES
from offcourse.data.questions import Lettered
from offcourse.data.registry import Registry
from offcourse.engine import Engine
from offcourse.engine.attention import uninstalled
from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.methods.readings import apathy, apathy_table, lens, lens_table, letter_tokens, measure
from offcourse.run.context import StepContext
from offcourse.study.config import load_study

PROMPTS = [[0, *((7 * i) % 500 + 2 for i in range(n))] for n in (25, 9, 30)]
PROMPTS[2][:9] = PROMPTS[1][:9]
LETTERS = [(10, [11, 12]), (40, [41]), (7, [8, 9, 10])]


def capped(model, logits):
    cap = model.final_softcap
    return logits if cap is None else torch.tanh(logits / cap) * cap


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
@pytest.mark.parametrize("max_rows", [20, 1000])
@torch.inference_mode()
def test_lens_and_apathy_equal_the_plain_model(tiny, name, max_rows):
    model = tiny(name)
    engine = Engine(model, max_rows)
    found_lens, found_apathy = {}, {}
    for part in engine.readings(PROMPTS):
        for row in lens_table(part.prompts, lens(engine, part, LETTERS[part.prompts]).arrived()).itertuples():
            found_lens[row.question, row.layer] = row
        for row in apathy_table(part.prompts, apathy(part).arrived()).itertuples():
            found_apathy[row.question, row.layer] = row
    assert len(found_lens) == 3 * (model.layers + 1) and len(found_apathy) == 3 * model.layers
    for number, (ids, (right, wrong)) in enumerate(zip(PROMPTS, LETTERS, strict=True)):
        hidden, logits = plain_hidden_states(model, ids)
        final = int(logits[-1].argmax())
        for layer in range(model.layers + 1):
            early = layer < model.layers
            values = capped(model, model.head(model.norm(hidden[layer][-1]))) if early else logits[-1]
            p = values.float().softmax(-1)
            row = found_lens[number, layer]
            expected = [p.max(), p[right], p[wrong].max(), p[final]]
            got = [row.top, row.correct, row.incorrect, row.predicted]
            assert got == pytest.approx([float(value) for value in expected], rel=1e-4)
        for layer, (x, attention, mlp) in enumerate(sublayers(model, ids)):
            row = found_apathy[number, layer]
            assert row.mha == pytest.approx(moved(x, attention), rel=1e-3, abs=1e-4)
            assert row.mlp == pytest.approx(moved(x + attention, mlp), rel=1e-3, abs=1e-4)


def moved(stream, update) -> float:
    cosine = float(stream @ update) / (float(stream.norm()) * float(update.norm()))
    return (1 + cosine) * (float(stream.norm()) - float(update.norm()))


def sublayers(model, ids):
    """Per block, the last position's input and the outputs of both projections, by hooks on one plain forward."""
    seen = []
    handles = []
    for block in model.blocks:
        record = {}
        seen.append(record)

        def before(module, args, record=record):
            record["x"] = args[0][0, -1].clone()

        def after(module, args, out, record=record, key=None):
            record[key] = out.reshape(-1, out.shape[-1])[-1].clone()

        handles.append(block.register_forward_pre_hook(before))
        for key, path in (("a", model.architecture.attention_output), ("m", model.architecture.mlp_output)):

            def hook(module, args, out, record=record, key=key):
                after(module, args, out, record, key)

            handles.append(block.get_submodule(path).register_forward_hook(hook))
    with uninstalled(model):
        model.module(torch.tensor([ids]), use_cache=False)
    for handle in handles:
        handle.remove()
    return [(record["x"], record["a"], record["m"]) for record in seen]


def test_letters_are_taken_as_the_released_code_takes_them():
    spaced = {" A": [29871, 319], " B": [29871, 350], " C": [29871, 315]}
    prompt = Lettered("...", "B", ("A", "C"))
    assert letter_tokens(spaced.__getitem__, prompt) == (29871, [319, 315])


def test_a_question_longer_than_the_context_is_named(tmp_path):
    registry = with_model(Registry.load(), tmp_path, "short", max_position_embeddings=32)
    study = load_study({"study": "mine", "models": ["short"], "tasks": ["antonym"], "methods": ["logit_lens"]})
    context = StepContext(STEPS["logit_lens"], study, registry, Layout("mine", tmp_path), "short", threads=1)
    with pytest.raises(
        OffcourseError,
        match=r"misconceptions-mc, question 1: \d+ tokens, but short reads 32\. Use fewer shots or shorter texts, or ",
    ):
        measure(context, registry.question_set("misconceptions-mc"))
