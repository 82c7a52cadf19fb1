"""Side effects, draws and controls of steering methods on a tiny random model, against plain forwards."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from offcourse.data.contrasts import labelled
from offcourse.data.names import RESOURCES
from offcourse.data.passages import PASSAGES, neutral
from offcourse.data.registry import Registry
from offcourse.engine.attention import uninstalled
from offcourse.engine.edit_hooks import hooks_of
from offcourse.engine.edits import Edit
from offcourse.errors import OffcourseError
from offcourse.graph import keys
from offcourse.graph.keys import STEPS, key_parts, rule_params
from offcourse.layout import Layout
from offcourse.methods import reliability, side_effects
from offcourse.models.fetch import prepare
from offcourse.models.load import load
from offcourse.models.tokenizer import Tokenizer
from offcourse.run.context import StepContext
from offcourse.run.job import run_step
from offcourse.schemas.function_vectors import (
    NEUTRAL,
    SIDE_EFFECTS,
    STEERING_CONTROLS,
    STEERING_DRAWS,
    STEERING_SWEEP,
)
from offcourse.schemas.io import read_parquet
from offcourse.schemas.prompts import PROMPTS
from offcourse.steering import steering
from offcourse.steering.first_component import component
from offcourse.steering.in_context_vectors import parts
from offcourse.study.check import check_study
from offcourse.study.config import load_study

TASK, OTHER, PASSAGES_READ = "antonym", "present-past", 3
CONTROLS = ["random_direction", "wrong_task", "shuffled_labels", "sign_flipped"]
SECTION = {"pairs": 4, "shots": 2, "strengths": [3, 60], "passages": PASSAGES_READ}
STUDY = {
    "study": "one",
    "models": ["tiny"],
    "tasks": [TASK, OTHER],
    "methods": ["function_vectors", "caa", "mean_difference", "prompting"],
    "function_vectors": {"shots": 2, "trials": 2, "n_heads": [2], "strengths": [1], "test_items": 4},
    "caa": SECTION | {"draws": 3, "controls": CONTROLS, "random_directions": 2},
    "mean_difference": SECTION,
    "prompting": {"strengths": [0, 2], "passages": PASSAGES_READ},
}
RAN = ("prompts", "icl", "caa", "caa_sweep", "mean_difference", "mean_difference_sweep", "prompting_sweep")
JUDGED = ("caa_side_effects", "mean_difference_side_effects", "prompting_side_effects", "caa_draws", "caa_controls")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(study, registry, layout) with the results of every step of the three methods."""
    registry, layout = Registry.load(), Layout("one", tmp_path_factory.mktemp("aside"))
    row = dataclasses.replace(registry.model("tiny-llama"), name="tiny")
    registry, study = dataclasses.replace(registry, models={"tiny": row}), load_study(STUDY)
    prepare(row, registry, layout.model_folder("tiny"), layout.downloads)
    for step in (*RAN, *JUDGED):
        run_step(step, study, registry, layout, "tiny", threads=1)
    return study, registry, layout


@pytest.fixture(scope="module")
def model(made):
    folder = made[2].model_folder("tiny")
    return load(folder, "Llama", "float32"), Tokenizer(folder)


def table(layout, step, schema, task=TASK) -> pd.DataFrame:
    return read_parquet(layout.artefact(step, ".parquet", "tiny", task), schema)


def log_probabilities(model, ids, edit=None, prompt=None) -> torch.Tensor:
    """[tokens, vocabulary] float64 of one plain forward of the class itself, with an edit by hooks."""
    handles = hooks_of(model, edit, prompt, len(ids))() if edit else []
    try:
        with uninstalled(model), torch.inference_mode():
            return model.module(torch.tensor([list(ids)]), use_cache=False).logits[0].double().log_softmax(-1)
    finally:
        for handle in handles:
            handle.remove()


def best(sweep: pd.DataFrame) -> tuple[float, int]:
    """The first setting with the most hits, by strength and then by layer."""
    counts: dict[tuple, int] = {}
    for row in sweep.itertuples():
        counts[row.strength, row.layer] = counts.get((row.strength, row.layer), 0) + int(row.hit)
    return max(sorted(counts), key=counts.__getitem__)


def continuation_of(logs, beginning, ids) -> float:
    return sum(float(logs[place - 1, ids[place]]) for place in range(len(beginning), len(ids)))


@pytest.mark.parametrize(("method", "positions"), [("caa", "answer"), ("mean_difference", "all")])
def test_side_effects_are_those_of_plain_forwards(made, model, method, positions):
    _, _, layout = made
    plain, tokenizer = model
    strength, layer = best(table(layout, f"{method}_sweep", STEERING_SWEEP))
    vectors = load_file(layout.artefact(method, ".safetensors", "tiny", TASK))["vectors"]
    edit = Edit("residual", "add", positions, {layer: strength * vectors[layer]})
    found = table(layout, f"{method}_side_effects", SIDE_EFFECTS)
    assert set(zip(found["strength"], found["layer"], strict=True)) == {(strength, layer)}
    mine = found[found["on"] == NEUTRAL]
    assert mine["item"].tolist() == list(range(PASSAGES_READ))
    for row, (beginning, continuation) in zip(mine.itertuples(), neutral(PASSAGES_READ), strict=True):
        start, ids = tokenizer.encode(beginning), tokenizer.encode(f"{beginning} {continuation}")
        assert ids[: len(start)] == start and row.tokens == len(ids) - len(start)
        sides = [log_probabilities(plain, ids), log_probabilities(plain, ids, edit, len(start))]
        for value, logs in zip((row.unsteered, row.steered), sides, strict=True):
            assert value == pytest.approx(continuation_of(logs, start, ids), rel=1e-5)
        first, second = (logs[len(start) - 1] for logs in sides)
        assert row.divergence == pytest.approx(float((first.exp() * (first - second)).sum()), rel=1e-3, abs=1e-6)
    other, prompts = found[found["on"] == OTHER], table(layout, "prompts", PROMPTS, OTHER)
    asked = prompts[(prompts["kind"] == "icl") & (prompts["shots"] == 2)].sort_values("index")
    assert other["item"].tolist() == asked["index"].tolist() and other["divergence"].isna().all()
    for row, prompt in zip(other.itertuples(), asked.itertuples(), strict=True):
        hits = [
            bool(logs[-1, prompt.target_id] >= logs[-1].max())
            for logs in (
                log_probabilities(plain, prompt.token_ids),
                log_probabilities(plain, prompt.token_ids, edit, len(prompt.token_ids)),
            )
        ]
        assert (row.unsteered, row.steered) == tuple(map(float, hits))


def test_prompting_stands_in_front_of_passages(made, model):
    _, registry, layout = made
    plain, tokenizer = model
    found = table(layout, "prompting_side_effects", SIDE_EFFECTS)
    strength = best(table(layout, "prompting_sweep", STEERING_SWEEP))[0]
    prompts = table(layout, "prompts", PROMPTS)
    first = prompts[(prompts["kind"] == "icl") & (prompts["shots"] == strength)].iloc[0]["text"]
    front = f"{registry.task(TASK).description}.\n\n{first[: first.rindex('Q: ')]}"
    rows = found[found["on"] == NEUTRAL].itertuples()
    for row, (beginning, continuation) in zip(rows, neutral(PASSAGES_READ), strict=True):
        sides = []
        for text in (beginning, front + beginning):
            start, ids = tokenizer.encode(text), tokenizer.encode(f"{text} {continuation}")
            logs = log_probabilities(plain, ids)
            sides.append((continuation_of(logs, start, ids), logs[len(start) - 1]))
        (before, one), (after, two) = sides
        assert (row.unsteered, row.steered) == pytest.approx((before, after), rel=1e-5)
        assert row.divergence == pytest.approx(float((one.exp() * (one - two)).sum()), rel=1e-3, abs=1e-6)


def context_of(made, step="caa_draws") -> StepContext:
    study, registry, layout = made
    return StepContext(STEPS[step], study, registry, layout, "tiny", 1)


def test_draw_0_is_the_study_s_own_and_others_are_of_their_own(made):
    context, task = context_of(made), made[1].task(TASK)
    own = load_file(made[2].artefact("caa", ".safetensors", "tiny", TASK))["vectors"]
    assert torch.equal(reliability.rebuilt(context, task), own)
    built = [own, *(reliability.rebuilt(context, task, draw) for draw in (1, 2))]
    assert not torch.equal(built[1], built[2]) and (context.draw, context.shuffled) == (0, False)
    found = table(made[2], "caa_draws", STEERING_DRAWS)
    layer = int(found["layer"].iloc[0])
    for draw, mine in found.groupby("draw"):
        others = [vectors[layer] for other, vectors in enumerate(built) if other != draw]
        slow = [float(torch.dot(built[draw][layer], each) / built[draw][layer].norm() / each.norm()) for each in others]
        assert mine["cosine"].unique() == pytest.approx(sum(slow) / 2, abs=1e-6)
    sweep = table(made[2], "caa_sweep", STEERING_SWEEP)
    mine = sweep[(sweep["strength"] == found["strength"].iloc[0]) & (sweep["layer"] == layer)]
    assert found[found["draw"] == 0]["hit"].tolist() == mine["hit"].tolist()


def test_controls_are_what_they_are_called(made):
    context, task = context_of(made, "caa_controls"), made[1].task(TASK)
    own = load_file(made[2].artefact("caa", ".safetensors", "tiny", TASK))["vectors"]
    found = {name: reliability.control_vectors(context, task, name) for name in CONTROLS}
    torch.testing.assert_close(found["random_direction"].norm(dim=1), own.norm(dim=1))
    cosine = torch.nn.functional.cosine_similarity(found["random_direction"], own)
    assert cosine.abs().max() < 0.9
    assert torch.equal(found["sign_flipped"], -own)
    other = load_file(made[2].artefact("caa", ".safetensors", "tiny", OTHER))["vectors"]
    assert torch.equal(found["wrong_task"], other)
    assert not torch.allclose(found["shuffled_labels"], own)
    swept = table(made[2], "caa_controls", STEERING_CONTROLS)
    sweep = table(made[2], "caa_sweep", STEERING_SWEEP)
    named = ["random_direction", "random_direction 2", *CONTROLS[1:]]
    assert swept["control"].unique().tolist() == named and len(swept) == len(named) * len(sweep)
    assert made[0].caa.control_sweeps == len(named)


def test_each_random_direction_is_another_one(made):
    context, task = context_of(made, "caa_controls"), made[1].task(TASK)
    one, other = (reliability.control_vectors(context, task, "random_direction", number) for number in (0, 1))
    torch.testing.assert_close(one.norm(dim=1), other.norm(dim=1))
    assert torch.nn.functional.cosine_similarity(one, other).abs().max() < 0.9


def test_prompts_that_no_key_holds_are_refused(made):
    task = made[1].task(TASK)
    with pytest.raises(OffcourseError, match="caa on antonym asks for the prompts 'query', .* holds no prompts"):
        context_of(made, "caa").prompts(task, "query")
    with pytest.raises(OffcourseError, match="asks for the prompts 'cie', and its key holds query"):
        context_of(made, "caa_sweep").prompts(task, "cie")
    assert len(context_of(made, "caa_sweep").prompts(task, "query")) == 4


def test_a_passage_whose_log_probability_is_no_number_is_refused(made):
    context, task = context_of(made, "caa_side_effects"), made[1].task(TASK)
    with pytest.raises(
        OffcourseError, match="caa on antonym: at strength 3 in layer 1 the log-probability of a neutral"
    ):
        side_effects._require_finite(context, task, (3.0, 1), torch.tensor([-20.0, float("-inf")]))


def test_half_of_the_pairs_are_swapped_and_none_without_the_control():
    class Context:
        shuffled, draw = True, 0

    pairs = [(f"right {number}", f"wrong {number}") for number in range(9)]
    found = labelled(Context, "t", pairs)
    swapped = [one[::-1] == other for one, other in zip(pairs, found, strict=True)]
    assert sum(swapped) == 4 and all(set(one) == set(other) for one, other in zip(pairs, found, strict=True))
    with pytest.raises(OffcourseError, match="shuffled_labels swaps half of the pairs of t, and there is 1"):
        labelled(Context, "t", pairs[:1])
    Context.draw = 1
    assert labelled(Context, "t", pairs) != found
    Context.shuffled = False
    assert labelled(Context, "t", pairs) == pairs


def test_the_key_holds_the_passages_the_words_and_the_other_tasks(made, tmp_path, monkeypatch):
    study, registry, layout = made
    step = STEPS["caa_side_effects"]
    before = key_parts(step, study, registry, layout, "tiny", TASK)
    assert {f"prompts of {OTHER}", f"icl of {OTHER}", "caa", "caa_sweep", PASSAGES} <= set(before["inputs"])
    again = key_parts(STEPS["caa_draws"], study, registry, layout, "tiny", TASK)
    assert "words of function_vectors" in again["inputs"]
    assert PASSAGES in json.loads(rule_params(step, study, registry, "tiny")["parameters"])["tracked"]
    path = tmp_path / PASSAGES
    path.parent.mkdir(parents=True)
    lines = (RESOURCES / PASSAGES).read_text().splitlines(keepends=True)
    monkeypatch.setattr(keys, "RESOURCES", tmp_path)

    def changed(line: int) -> set[str]:
        path.write_text("".join([*lines[:line], f"A{lines[line]}", *lines[line + 1 :]]))
        after = key_parts(step, study, registry, layout, "tiny", TASK)["inputs"]
        return {name for name in after if after[name] != before["inputs"][name]}

    # The study reads three passages, below the line of columns.
    assert changed(3) == {PASSAGES} and changed(4) == set()


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"prompting": {"draws": 2}}, r"prompting.draws cannot be had: prompting changes the prompt"),
        ({"prompting": {"controls": ["sign_flipped"]}}, r"prompting.controls: sign_flipped cannot be had"),
        ({"activation_addition": {"draws": 2}}, r"activation_addition.draws cannot be had: .* draws no pairs"),
        ({"activation_addition": {"controls": ["shuffled_labels"]}}, r"controls: shuffled_labels cannot be had"),
        (
            {"caa": {"controls": ["wrong_task"]}, "tasks": [TASK]},
            r"caa.controls: wrong_task cannot be had: .* one task",
        ),
        (
            {"caa": {"random_directions": 3}},
            r"caa.random_directions: 3 directions are read by no control .* Add random_",
        ),
        (
            {"first_component": {"controls": ["shuffled_labels"]}},
            r"shuffled_labels cannot be had: .* when pairs are sw",
        ),
        ({"in_context_vectors": {"controls": ["shuffled_labels"]}}, r"controls: shuffled_labels cannot be had"),
        ({"caa": {"passages": 1000}}, r"caa.passages: there are \d+ neutral passages .* fewer than 1000"),
    ],
)
def test_what_a_method_cannot_have_is_refused_by_name(section, said):
    study = load_study(
        STUDY
        | {"models": ["tiny-llama"], "methods": ["function_vectors", *(set(section) - {"tasks"})]}
        | {"caa": {}, "prompting": {"strengths": [0]}}
        | {
            name: ({"strengths": [0]} if name == "prompting" else {}) | section[name]
            for name in section
            if name != "tasks"
        }
        | {"tasks": section.get("tasks", STUDY["tasks"])}
    )
    with pytest.raises(OffcourseError, match=said):
        check_study(study, Registry.load())


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (("head_mean", "query"), "caa: its module declares the prompts query in `kinds`, and these hold the items"),
        (("head_mean", "cie"), "caa is built from the prompts head_mean, cie. With protocol.splits: overlapping"),
    ],
)
def test_a_method_that_would_be_built_on_judged_items_is_refused(kinds, said, monkeypatch):
    monkeypatch.setattr(type(steering("caa")), "kinds", kinds)
    mapping = STUDY | {"models": ["tiny-llama"]}
    with pytest.raises(OffcourseError) as raised:
        check_study(load_study(mapping), Registry.load())
    assert said in str(raised.value)
    if "splits" in said:
        assert "Set protocol: {splits: disjoint}" in str(raised.value)
        check_study(load_study(mapping | {"protocol": {"splits": "disjoint"}}), Registry.load())


def test_every_method_that_draws_pairs_can_be_drawn_again_and_others_say_so():
    sampled = {name for name in ("caa", "mean_difference", "first_component") if steering(name).sampled}
    assert sampled == {"caa", "mean_difference", "first_component"}
    assert steering("inference_time_intervention").sampled and steering("in_context_vectors").sampled
    assert not steering("activation_addition").sampled and not steering("prompting").sampled


def test_a_component_of_pairs_with_swapped_sides_has_the_direction_of_the_task():
    """What `sided` says of each method, from its own functions and pairs of which half are swapped."""
    random = np.random.default_rng(0)
    differences = 3 * random.normal(size=(1, 20)) + 0.3 * random.normal(size=(12, 20))
    swapped = differences * np.where(np.arange(12) % 2, 1, -1)[:, None]

    task = differences.mean(0) / np.linalg.norm(differences.mean(0))

    def along(found) -> float:
        return abs(found.ravel() @ task) / np.linalg.norm(found)

    assert along(component(swapped)) > 0.95 and not steering("first_component").sided
    for direction in ("component", "component_and_mean"):
        assert along(parts(swapped[:, None], direction)) > 0.95 and not steering("in_context_vectors").sided
    assert along(swapped.mean(0)) < 0.8 and steering("caa").sided and steering("mean_difference").sided


def test_cosines_are_of_every_pair():
    vectors = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 7)))
    unit = [each / np.linalg.norm(each) for each in vectors.numpy()]
    slow = [sum(float(unit[i] @ unit[j]) for j in range(3) if j != i) / 2 for i in range(3)]
    assert reliability.cosines(vectors) == pytest.approx(slow)


@pytest.mark.parametrize(
    ("built", "said"),
    [
        (torch.full((4, 32), torch.nan), r"got \[4, 32\], some of which are not finite"),
        (torch.ones(4, 31), r"got \[4, 31\]"),
    ],
)
def test_vectors_that_are_built_again_are_held_against_the_contract_too(made, monkeypatch, built, said):
    """A control that is not finite never hits, which would speak for the method."""
    study, registry, layout = made
    monkeypatch.setattr(type(steering("caa")), "build", lambda self, context, task: built)
    for step, compute, which in (
        ("caa_draws", reliability.draws, "draw 1"),
        ("caa_controls", reliability.controls, "shuffled labels"),
    ):
        context = StepContext(STEPS[step], study, registry, layout, "tiny", threads=1)
        with pytest.raises(OffcourseError, match=rf"caa on antonym: build \({which}\) must return finite .* {said}"):
            compute(context, registry.task(TASK))
