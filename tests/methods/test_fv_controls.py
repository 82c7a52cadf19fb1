"""Controls of function vectors on a tiny random model: their vectors one by one, and the plain sweep with them."""

import dataclasses
import itertools

import numpy as np
import oracles
import pytest
import torch
from safetensors.torch import load_file

from offcourse.audit.evidence import Evidence
from offcourse.audit.status import step_reasons
from offcourse.data.draws import keyed_generator
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS, steps_of
from offcourse.layout import Layout
from offcourse.methods.fv_controls import build_prompts, means_at, shuffled_means, vectors
from offcourse.models.fetch import prepare
from offcourse.models.load import load
from offcourse.plan.costs import work
from offcourse.plan.passes import FV_QUERY, Work, hits
from offcourse.provenance.records import read_record
from offcourse.run.context import StepContext
from offcourse.run.job import run_step
from offcourse.schemas.function_vectors import CIE, CONTROLS, FV_CONTROLS, FV_SWEEP
from offcourse.schemas.io import read_parquet, write_parquet
from offcourse.schemas.prompts import PROMPTS
from offcourse.study.check import check_study
from offcourse.study.config import load_study

TASKS = ["present-past", "antonym", "country-capital"]
TASK = TASKS[0]
SETTINGS = {"shots": 2, "trials": 3, "n_heads": [7, 2], "strengths": [40, 6], "test_items": 6}
SETTINGS |= {"controls": list(CONTROLS), "control_draws": 2, "build_draws": 2}
STEPS_BEFORE = ("prompts", "head_means", "cie", "function_vectors")
DRAWS = [("random_direction", 0), ("random_direction", 1), ("random_heads", 0), ("random_heads", 1)]
# Whether heads are chosen, and means read, one token early; the study reads early, since the tokenizer adds a BOS.
BUILT = {"read_position": (0, 0), "read_position_heads": (0, 1), "read_position_means": (1, 0), "rebuilt": (1, 1)}
DRAWS += [("shuffled_labels", 0), ("other_task", 0)]
DRAWS += [(control, draw) for control in BUILT for draw in (0, 1) if (control, draw) != ("rebuilt", 0)]


class Made:
    """The steps up to the controls, on a GPT-NeoX model: its attention output has biases."""

    def __init__(self, folder):
        registry = Registry.load()
        row = dataclasses.replace(registry.model("tiny-llama"), name="tiny", repo="GPTNeoX", architecture="GPTNeoX")
        self.registry, self.layout = dataclasses.replace(registry, models={"tiny": row}), Layout("one", folder)
        self.study = load_study({"study": "one", "models": ["tiny"], "tasks": TASKS, "function_vectors": SETTINGS})
        prepare(row, self.registry, self.layout.model_folder("tiny"), self.layout.downloads)
        self.model = load(self.layout.model_folder("tiny"), "GPTNeoX", "float32")
        for step in STEPS_BEFORE:
            run_step(step, self.study, self.registry, self.layout, "tiny", threads=1)
        task = self.registry.task(TASK)
        context = StepContext(STEPS["fv_controls"], self.study, self.registry, self.layout, "tiny", 1)
        self.vectors = {(control, draw): made for control, draw, made in vectors(context, task, [2, 7])}
        # A random model never says the answer, so that of an item is what it says under one of the settings.
        frame = read_parquet(self.path("prompts"), PROMPTS)
        for prompt in frame[frame["kind"] == "query"].itertuples():
            control = DRAWS[(5 * prompt.index + 1) % len(DRAWS)]
            edit = 40 * self.vectors[control][(2, 7)[prompt.index % 2]]
            said = oracles.residual_edited(self.model, prompt.token_ids, prompt.index % 4, edit).argmax()
            frame.loc[prompt.Index, "target_id"] = int(said)
        write_parquet(self.path("prompts"), frame, PROMPTS)
        self.prompts = frame
        run_step("fv_controls", self.study, self.registry, self.layout, "tiny", threads=1)

    def path(self, step: str, task: str = TASK):
        return self.layout.artefact(step, STEPS[step].suffix, "tiny", task)

    def of_heads(self, means: torch.Tensor, heads: list[tuple[int, int]]) -> torch.Tensor:
        """A call of the projection per head, which adds the bias once per head, as published."""
        total = torch.zeros(self.model.width)
        for layer, head in heads:
            slots = torch.zeros(means.shape[1:])
            slots[head] = means[layer, head]
            with torch.inference_mode():
                total += self.model.projections[layer](slots.flatten())
        return total


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Made(tmp_path_factory.mktemp("study"))


def test_random_directions_are_as_long_as_the_vector(made):
    own = load_file(made.path("function_vectors"))
    for k in (2, 7):
        pair = [made.vectors["random_direction", draw][k] for draw in (0, 1)]
        for vector in pair:
            assert float(vector.norm()) == pytest.approx(float(own[f"n_heads={k}"].norm()), rel=1e-5)
        assert not torch.allclose(*pair)


def test_random_heads_are_drawn_by_key_and_summed_as_chosen_ones_are(made):
    means = load_file(made.path("head_means"))["mean"]
    layers, heads = means.shape[:2]
    for draw in (0, 1):
        order = keyed_generator(0, TASK, "random_heads", draw).permutation(layers * heads)
        drawn = [(place // heads, place % heads) for place in order.tolist()]
        assert len(set(drawn)) == layers * heads
        for k in (2, 7):
            torch.testing.assert_close(
                made.vectors["random_heads", draw][k], made.of_heads(means, drawn[:k]), rtol=1e-4, atol=1e-5
            )


def test_shuffled_labels_take_the_chosen_heads_on_the_prompts_with_shuffled_labels(made):
    shuffled = made.prompts[made.prompts["kind"] == "cie"]
    # This tokenizer adds a BOS token, so heads are read one token early, as published.
    means = torch.stack([oracles.head_outputs(made.model, ids, len(ids) - 2) for ids in shuffled["token_ids"]]).mean(0)
    effects = read_parquet(made.path("cie"), CIE).groupby(["layer", "head"])["effect"].mean()
    chosen = effects.sort_values(ascending=False, kind="stable").index
    for k in (2, 7):
        torch.testing.assert_close(
            made.vectors["shuffled_labels", 0][k], made.of_heads(means, chosen[:k]), rtol=1e-4, atol=1e-5
        )


def test_the_other_task_is_the_next_one(made):
    theirs = load_file(made.path("function_vectors", "antonym"))
    for k in (2, 7):
        assert torch.equal(made.vectors["other_task", 0][k], theirs[f"n_heads={k}"])
    assert [STEPS["fv_controls"].next_unit(made.study, task) for task in TASKS] == [*TASKS[1:], TASKS[0]]


def test_the_sweep_is_the_plain_one_with_these_vectors(made):
    frame = read_parquet(made.path("fv_controls"), FV_CONTROLS)
    found = frame.set_index([name for name in frame.columns if name != "hit"])["hit"]
    expected = {}
    edits = list(itertools.product(DRAWS, (2, 7), (6.0, 40.0)))
    values = torch.stack([strength * made.vectors[control][k] for control, k, strength in edits])
    for layer in range(4):
        for prompt in made.prompts[made.prompts["kind"] == "query"].itertuples():
            said = oracles.each_residual_edited(made.model, prompt.token_ids, layer, values).argmax(-1)
            for (control, k, strength), token in zip(edits, said.tolist(), strict=True):
                expected[*control, k, strength, layer, prompt.index] = token == prompt.target_id
    assert found.to_dict() == expected
    # Each item says what it says under one of these vectors.
    own = [DRAWS[(5 * item + 1) % len(DRAWS)] for item in range(SETTINGS["test_items"])]
    assert len(set(own)) == len({tuple(found.xs(key, level=["control", "draw"])) for key in own}) == len(own)


def test_a_record_names_the_vector_that_was_borrowed_and_is_stale_with_it(made):
    record = read_record(made.layout.record("fv_controls", "tiny", TASK))
    assert any(path.endswith("function_vectors/antonym.safetensors") for path in record["inputs"])
    asked = (STEPS["fv_controls"], Evidence(made.study, made.registry, made.layout), "tiny", TASK)
    assert step_reasons(*asked) == []
    path = made.path("function_vectors", "antonym")
    before = path.read_bytes()
    try:
        path.write_bytes(before + b" ")
        assert "function_vectors of antonym" in " ".join(step_reasons(*asked))
    finally:
        path.write_bytes(before)


def test_heads_are_read_where_the_true_prompts_are_read(made):
    """Under `head_read_position: last` that is the last token."""
    frame = made.prompts.copy()
    frame["read_position"] = frame["token_ids"].map(len) - 1

    class AtTheEnd:
        engine = StepContext(STEPS["fv_controls"], made.study, made.registry, made.layout, "tiny", 1).engine

        def prompts(self, task, kind):
            return frame[frame["kind"] == kind].reset_index(drop=True)

    shuffled = frame[frame["kind"] == "cie"]["token_ids"]
    expected = torch.stack([oracles.head_outputs(made.model, ids, len(ids) - 1) for ids in shuffled]).mean(0)
    torch.testing.assert_close(shuffled_means(AtTheEnd(), made.registry.task(TASK)), expected, rtol=1e-4, atol=1e-5)


def test_the_other_read_position_is_a_study_with_the_switch_turned(made, tmp_path):
    """Its prompts have other read positions; head means, effects, heads, vectors and sweep follow from them."""
    before = {"study": "one", "models": ["tiny"], "tasks": TASKS, "function_vectors": SETTINGS | {"controls": []}}
    turned = load_study(before | {"protocol": {"head_read_position": "last"}})
    layout = Layout("one", tmp_path)
    prepare(made.registry.model("tiny"), made.registry, layout.model_folder("tiny"), layout.downloads)
    for step in STEPS_BEFORE:
        run_step(step, turned, made.registry, layout, "tiny", threads=1)
    path = layout.artefact("prompts", ".parquet", "tiny", TASK)
    frame, moved = read_parquet(path, PROMPTS), made.prompts["kind"] == "head_mean"
    assert (frame.loc[moved, "read_position"] == made.prompts.loc[moved, "read_position"] + 1).all()
    # The answers that the other study's random model gives.
    write_parquet(path, frame.assign(target_id=made.prompts["target_id"]), PROMPTS)
    run_step("fv_sweep", turned, made.registry, layout, "tiny", threads=1)
    vectors = load_file(layout.artefact("function_vectors", ".safetensors", "tiny", TASK))
    own = load_file(made.path("function_vectors"))
    for k in (2, 7):
        torch.testing.assert_close(made.vectors["read_position", 0][k], vectors[f"n_heads={k}"], rtol=1e-5, atol=1e-6)
        assert not torch.allclose(vectors[f"n_heads={k}"], own[f"n_heads={k}"])
    axes = ["n_heads", "strength", "layer", "item"]
    expected = read_parquet(layout.artefact("fv_sweep", ".parquet", "tiny", TASK), FV_SWEEP)
    found = read_parquet(made.path("fv_controls"), FV_CONTROLS)
    found = found[(found["control"] == "read_position") & (found["draw"] == 0)].set_index(axes)["hit"]
    assert found.to_dict() == expected.set_index(axes)["hit"].to_dict() and found.any()


def naive(made, draw: int, early_heads: int, early_means: int) -> dict[int, torch.Tensor]:
    """The vectors of one draw of the build prompts, from a plain forward for every head and prompt."""
    again = "_again" if draw else ""
    true, shuffled = (made.prompts[made.prompts["kind"] == f"{kind}{again}"] for kind in ("head_mean", "cie"))
    assert len(true) == len(shuffled) == SETTINGS["trials"]

    def means(early: int) -> torch.Tensor:
        read = [oracles.head_outputs(made.model, ids, len(ids) - 1 - early) for ids in true["token_ids"]]
        return torch.stack(read).mean(0)

    chosen_by, effects = means(early_heads), torch.zeros(made.model.layers, made.model.heads)
    for prompt in shuffled.itertuples():
        clean = oracles.probability(made.model, prompt.token_ids, prompt.target_id)
        for (layer, head), _ in np.ndenumerate(effects.numpy()):
            patch = layer, head, chosen_by[layer, head], True
            effects[layer, head] += oracles.head_patched(made.model, prompt.token_ids, prompt.target_id, *patch) - clean
    order = effects.flatten().argsort(descending=True, stable=True).tolist()
    ranking = [divmod(place, made.model.heads) for place in order]
    return {k: made.of_heads(means(early_means), ranking[:k]) for k in (2, 7)}


@pytest.mark.parametrize("control", BUILT)
@pytest.mark.parametrize("draw", [0, 1])
def test_either_half_of_the_shift_is_made_by_itself_and_from_prompts_drawn_again(made, control, draw):
    """A cross takes its heads from one position and their means from the other."""
    expected = naive(made, draw, *BUILT[control])
    if (control, draw) == ("rebuilt", 0):
        found = {k: load_file(made.path("function_vectors"))[f"n_heads={k}"] for k in (2, 7)}
    else:
        found = made.vectors[control, draw]
    for k in (2, 7):
        torch.testing.assert_close(found[k], expected[k], rtol=1e-4, atol=1e-5)


class Reads:
    """The job of a study whose prompts are read elsewhere."""

    def __init__(self, made, frame):
        self.context, self.frame = (
            StepContext(STEPS["fv_controls"], made.study, made.registry, made.layout, "tiny", 1),
            frame,
        )

    def __getattr__(self, name):
        return getattr(self.context, name)

    def prompts(self, task, kind):
        return self.frame[self.frame["kind"] == kind].reset_index(drop=True)


def test_a_study_that_reads_the_last_token_reads_the_one_before(made):
    frame = made.prompts.copy()
    frame["read_position"] = frame["token_ids"].map(len) - 1
    found = means_at(Reads(made, frame), made.registry.task(TASK), 0, True)
    assert torch.equal(found, load_file(made.path("head_means"))["mean"])


def test_a_tokenizer_without_a_bos_has_another_read_position_too(made):
    """There the study reads the last token as published, and the control the one before."""
    frame = made.prompts.copy()
    assert all(ids[0] == frame["token_ids"].iloc[0][0] for ids in frame["token_ids"]), "this tokenizer adds a BOS"
    frame["token_ids"] = [ids[1:] for ids in frame["token_ids"]]
    frame["read_position"] = frame["token_ids"].map(len) - 1
    true = frame[frame["kind"] == "head_mean"]["token_ids"]
    expected = torch.stack([oracles.head_outputs(made.model, ids, len(ids) - 2) for ids in true]).mean(0)
    found = [name for name, _, _ in vectors(Reads(made, frame), made.registry.task(TASK), [2])]
    assert set(found) == set(CONTROLS)
    torch.testing.assert_close(
        means_at(Reads(made, frame), made.registry.task(TASK), 0, True), expected, rtol=1e-4, atol=1e-5
    )


def test_further_draws_are_other_prompts_of_the_same_split(made):
    context = StepContext(STEPS["fv_controls"], made.study, made.registry, made.layout, "tiny", 1)
    for kind in ("head_mean", "cie"):
        own, again = (build_prompts(context, made.registry.task(TASK), kind, draw) for draw in (0, 1))
        assert len(own) == len(again) and not set(own["text"]) & set(again["text"])
        assert list(again["index"]) == [0, 1, 2]


def study(**function_vectors):
    return load_study({"study": "s", "models": ["tiny-llama"], "tasks": TASKS, "function_vectors": function_vectors})


def test_the_step_runs_when_it_is_asked_for_and_reads_no_more_than_it_needs():
    assert "fv_controls" not in steps_of(study())
    asked = study(controls=["random_heads"])
    step = steps_of(asked)["fv_controls"]
    assert set(step.upstream(asked, TASK)) == set(step.inputs)
    borrowed = step.upstream(study(controls=["other_task"]), TASK)
    assert borrowed["function_vectors of antonym"] == ("function_vectors", "antonym")


def test_the_plan_counts_every_draw():
    model = Registry.load().model("tiny-llama")
    one, five = study(controls=["random_heads"]), study(controls=["random_heads", "other_task"], control_draws=4)
    sweep = work("fv_sweep", one, model, None, 512)
    assert work("fv_controls", one, model, None, 512) == sweep
    read = {step: work(step, one, model, None, 512) for step in ("head_means", "cie")}
    for settings, vectors_, means, effects in (
        ({"controls": ["read_position"]}, 1, 1, 1),
        ({"controls": ["read_position_means"]}, 1, 1, 0),
        ({"controls": ["read_position", "read_position_heads", "read_position_means"]}, 3, 1, 1),
        ({"controls": ["rebuilt"], "build_draws": 3}, 2, 2, 2),
        # Both positions of the second draw, and the other one of the first.
        ({"controls": list(BUILT), "build_draws": 2}, 7, 3, 3),
    ):
        asked = study(**settings)
        drawn = work("fv_controls", study(controls=["random_heads"], control_draws=vectors_), model, None, 512)
        expected = drawn + sum([read["head_means"]] * means + [read["cie"]] * effects, Work())
        for field in dataclasses.fields(Work):
            found = getattr(work("fv_controls", asked, model, None, 512), field.name)
            assert found == pytest.approx(getattr(expected, field.name)), field.name
    unedited = hits(1, 50, FV_QUERY, model, 512).unembedded
    rows = [work("fv_controls", each, model, None, 512).unembedded - unedited for each in (one, five)]
    assert rows[1] == pytest.approx(5 * rows[0])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"controls": ["random"]}, r"controls\[0\]: expected one of random_direction, random_heads"),
        ({"controls": ["other_task", "other_task"]}, "distinct entries"),
        ({"controls": ["other_task"], "tasks": ["antonym"]}, "other_task needs a second task"),
        ({"controls": ["rebuilt"]}, "build_draws to 2 or more"),
        ({"controls": ["random_heads"], "build_draws": 2}, "2 draws are read by no control"),
    ],
)
def test_wrong_controls_are_refused(settings, said):
    with pytest.raises(OffcourseError, match=said):
        check_study(study(**settings), Registry.load())
