"""Contrastive activation addition on a tiny random model of every class: pairs, vectors, sweep against plain loops."""

import dataclasses

import oracles
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from offcourse.data.architectures import ARCHITECTURES
from offcourse.data.prompts import EVALUATION_SEED, split_pairs, unevaluated
from offcourse.data.registry import Registry
from offcourse.data.tasks import load_pairs
from offcourse.engine.attention import uninstalled
from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS, steps_of
from offcourse.layout import Layout
from offcourse.models.fetch import prepare
from offcourse.models.load import load
from offcourse.plan.jobs import work
from offcourse.run.job import run_step
from offcourse.schemas.function_vectors import STEERING_SWEEP
from offcourse.schemas.io import read_parquet, write_parquet
from offcourse.schemas.prompts import PROMPTS
from offcourse.steering import caa, steering
from offcourse.steering.caa import contrasts
from offcourse.study.check import check_study
from offcourse.study.config import load_study

TASK = "antonym"
FUNCTION_VECTORS = {"shots": 2, "trials": 2, "n_heads": [2], "strengths": [1], "test_items": 4}
CAA = {"pairs": 3, "shots": 2, "strengths": [3, 60]}
STUDY = {"study": "one", "models": ["tiny"], "tasks": [TASK], "methods": ["function_vectors", "caa"]}
STUDY |= {"function_vectors": FUNCTION_VECTORS, "caa": CAA}
WORDS = load_pairs(Registry.load().task(TASK), "embedded")


def after_blocks(model, ids) -> torch.Tensor:
    """[layers, width]: the last token's state after every block, of the plain model."""
    seen = []

    def keep(module, args, out):
        seen.append((out[0] if isinstance(out, tuple) else out)[0, -1].clone())

    handles = [block.register_forward_hook(keep) for block in model.blocks]
    with uninstalled(model), torch.inference_mode():
        model.module(torch.tensor([list(ids)]), use_cache=False)
    for handle in handles:
        handle.remove()
    return torch.stack(seen)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_vectors_and_sweep_are_the_plain_ones(name, tmp_path):
    registry, layout, study = Registry.load(), Layout("one", tmp_path), load_study(STUDY)
    row = dataclasses.replace(registry.model("tiny-llama"), name="tiny", repo=name, architecture=name)
    registry = dataclasses.replace(registry, models={"tiny": row})
    folder = layout.model_folder("tiny")
    prepare(row, registry, folder, layout.downloads)
    model, encode = load(folder, name, "float32"), AutoTokenizer.from_pretrained(folder)
    for step in ("prompts", "caa"):
        run_step(step, study, registry, layout, "tiny", threads=1)
    differences = []
    for right, wrong in contrasts(TASK, unevaluated(WORDS, "as_published"), CAA["pairs"], CAA["shots"]):
        states = [after_blocks(model, encode(text).input_ids) for text in (right, wrong)]
        differences.append(states[0] - states[1])
    expected = torch.stack(differences).mean(0)
    found = load_file(layout.artefact("caa", ".safetensors", "tiny", TASK))["vectors"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)

    # A random model never says the answer, so that of an item is what it says under one of the settings.
    path = layout.artefact("prompts", ".parquet", "tiny", TASK)
    frame = read_parquet(path, PROMPTS)
    said = {}
    for prompt in frame[frame["kind"] == "query"].itertuples():
        for strength in CAA["strengths"]:
            for layer, vector in enumerate(found):
                logits = oracles.residual_edited(model, prompt.token_ids, layer, strength * vector)
                said[strength, layer, prompt.index] = int(logits.argmax())
        frame.loc[prompt.Index, "target_id"] = said[CAA["strengths"][prompt.index % 2], prompt.index, prompt.index]
    write_parquet(path, frame, PROMPTS)
    run_step("caa_sweep", study, registry, layout, "tiny", threads=1)
    sweep = read_parquet(layout.artefact("caa_sweep", ".parquet", "tiny", TASK), STEERING_SWEEP)
    targets = frame[frame["kind"] == "query"].set_index("index")["target_id"]
    hits = sweep.set_index(["strength", "layer", "item"])["hit"]
    assert hits.to_dict() == {key: token == targets[key[2]] for key, token in said.items()}
    assert hits.any() and not hits.all()


@pytest.mark.parametrize("splits", ["as_published", "disjoint"])
def test_no_pair_holds_a_word_that_is_evaluated(splits):
    seed = EVALUATION_SEED if splits == "as_published" else 42
    evaluated = {word.casefold() for word, _ in split_pairs(WORDS, seed).test}
    for right, wrong in contrasts(TASK, unevaluated(WORDS, splits), 40, 5):
        words = {line[3:].casefold() for text in (right, wrong) for line in text.splitlines() if line}
        assert len(words) > 6 and not words & evaluated


def test_a_pair_is_one_prompt_with_a_right_and_a_wrong_answer_drawn_by_key():
    train = unevaluated(WORDS, "as_published")
    made = contrasts(TASK, train, 30, 2)
    assert made[:7] == contrasts(TASK, train, 7, 2)
    assert made != contrasts("another", train, 30, 2)
    assert len(set(made)) == 30
    for right, wrong in made:
        (before, answer), (same, other) = (text.rsplit("A: ", 1) for text in (right, wrong))
        assert before == same and before.count("A: ") == 2
        query = before.rsplit("Q: ", 1)[1].strip()
        assert (query, answer) in train and (query, other) not in train
        assert other in {output for _, output in train}


def test_lists_that_are_too_short_or_of_one_answer_are_refused():
    with pytest.raises(OffcourseError, match=r"task t has 3 words that are never evaluated, but 2 shots need .* 4"):
        contrasts("t", [("a", "b"), ("c", "d"), ("e", "f")], 2, 2)
    with pytest.raises(OffcourseError, match="one answer"):
        contrasts("t", [(word, "same") for word in "abcdef"], 2, 2)


def test_the_plan_counts_its_prompts_and_rows():
    model, study = Registry.load().model("tiny-llama"), load_study(STUDY)
    twice = load_study(STUDY | {"caa": CAA | {"pairs": 6, "strengths": [1, 2, 3, 4]}})
    one, two = (work("caa", each, model, None, 4096).token_blocks for each in (study, twice))
    assert two == 2 * one > 0
    rows = [work("caa_sweep", each, model, None, 4096).unembedded for each in (study, twice)]
    assert 1 < rows[1] / rows[0] < 2
    # The grid of one number of heads is as large as that of a method without heads.
    same = load_study(STUDY | {"function_vectors": FUNCTION_VECTORS | {"strengths": [1, 2]}})
    assert work("caa_sweep", same, model, None, 4096) == work("fv_sweep", same, model, None, 4096)


def test_strengths_change_no_vector_and_pairs_change_both_steps():
    base, stronger, more = (
        load_study(STUDY | {"caa": CAA | change}) for change in ({}, {"strengths": [9]}, {"pairs": 9})
    )
    built, swept = STEPS["caa"], STEPS["caa_sweep"]
    assert built.parameters(base) == built.parameters(stronger) != built.parameters(more)
    assert swept.parameters(base) != swept.parameters(stronger)
    assert "caa" not in steps_of(load_study(STUDY | {"methods": ["function_vectors"]}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": ["caa"]}, "caa is measured on the prompts and baselines of function_vectors; add"),
        ({"function_vectors": FUNCTION_VECTORS | {"tasks": ["present-past"]}}, "caa.tasks: antonym is not among"),
        ({"caa": {"models": ["other"]}}, "caa.models: 'other' is not one of the study's models"),
    ],
)
def test_a_study_that_it_cannot_be_measured_in_is_refused(changes, said):
    study = load_study(STUDY | {"models": ["tiny-llama"], "tasks": [TASK, "present-past"]} | changes)
    with pytest.raises(OffcourseError, match=said):
        check_study(study, Registry.load())


def test_wrong_settings_and_names_are_refused_by_their_key():
    with pytest.raises(OffcourseError, match="caa.pairs: expected a whole number from 1 to 100000, got 0"):
        load_study(STUDY | {"caa": {"pairs": 0}})
    with pytest.raises(OffcourseError, match="unknown key caa.pair; did you mean 'caa.pairs'"):
        load_study(STUDY | {"caa": {"pair": 1}})
    with pytest.raises(OffcourseError, match=r"methods\[0\]: expected one of .*, got 'cca'; did you mean 'caa'"):
        load_study(STUDY | {"methods": ["cca"]})


def test_a_module_without_a_method_is_named(monkeypatch):
    monkeypatch.setattr(caa, "METHOD", None)
    with pytest.raises(OffcourseError, match=r"steering/caa\.py defines no method: expected METHOD"):
        steering("caa")


def test_vectors_of_another_shape_are_refused(tmp_path, monkeypatch):
    registry, layout, study = Registry.load(), Layout("one", tmp_path), load_study(STUDY)
    row = dataclasses.replace(registry.model("tiny-llama"), name="tiny")
    registry = dataclasses.replace(registry, models={"tiny": row})
    prepare(row, registry, layout.model_folder("tiny"), layout.downloads)
    monkeypatch.setattr(caa.Caa, "build", lambda self, context, task: torch.zeros(3))
    with pytest.raises(OffcourseError, match=r"caa on antonym: build must return .* \[4, 32\], got \[3\]"):
        run_step("caa", study, registry, layout, "tiny", threads=1)
