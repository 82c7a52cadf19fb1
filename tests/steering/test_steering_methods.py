"""Every steering method on a tiny random model: its vectors and its sweep against plain loops over plain forwards."""

import dataclasses

import numpy as np
import oracles
import pytest
import torch
from safetensors.torch import load_file
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from test_caa import after_blocks
from transformers import AutoTokenizer

from offcourse.data.contrasts import demonstrated
from offcourse.data.draws import keyed_generator
from offcourse.data.names import STEERING
from offcourse.data.prompts import EVALUATION_SEED, unevaluated
from offcourse.data.registry import Registry
from offcourse.data.tasks import load_pairs
from offcourse.errors import OffcourseError
from offcourse.layout import Layout
from offcourse.models.fetch import prepare
from offcourse.models.load import load
from offcourse.models.tokenizer import Tokenizer
from offcourse.plan.jobs import work
from offcourse.run.job import run_step
from offcourse.schemas.function_vectors import STEERING_SWEEP
from offcourse.schemas.io import read_parquet, write_parquet
from offcourse.schemas.prompts import PROMPTS
from offcourse.steering import steering
from offcourse.steering.activation_addition import aligned
from offcourse.steering.caa import contrasts
from offcourse.steering.inference_time_intervention import held_out_pairs
from offcourse.study.check import check_study
from offcourse.study.config import load_study

TASK = "antonym"
KNOWN = Registry.load()
SECTIONS = {
    "mean_difference": {"pairs": 4, "shots": 2, "strengths": [1, 20]},
    "first_component": {"pairs": 4, "shots": 2, "strengths": [1, 20]},
    "activation_addition": {"strengths": [1, 20]},
    "in_context_vectors": {"demonstrations": 4, "strengths": [0.1, 2]},
    "inference_time_intervention": {"pairs": 6, "shots": 1, "heads": 5, "strengths": [5, 60]},
}
STUDY = {"study": "one", "models": ["tiny"], "tasks": [TASK], "methods": ["function_vectors", *SECTIONS, "prompting"]}
STUDY |= {"function_vectors": {"shots": 2, "trials": 2, "n_heads": [2], "strengths": [1], "test_items": 3}}
STUDY |= SECTIONS | {"prompting": {"strengths": [0, 2]}}
TRAIN = unevaluated(load_pairs(KNOWN.task(TASK), "embedded"), "as_published")


@pytest.fixture(scope="module", params=["Llama", "GPT2"])
def made(request, tmp_path_factory):
    """(model, encode, what the steps run with, for one class with grouped heads and one with biases)."""
    folder = tmp_path_factory.mktemp(request.param)
    registry, layout, study = KNOWN, Layout("one", folder), load_study(STUDY)
    row = dataclasses.replace(registry.model("tiny-llama"), name="tiny", repo=request.param, architecture=request.param)
    registry = dataclasses.replace(registry, models={"tiny": row})
    prepare(row, registry, layout.model_folder("tiny"), layout.downloads)
    model = load(layout.model_folder("tiny"), request.param, "float32")
    encode = AutoTokenizer.from_pretrained(layout.model_folder("tiny"))
    run_step("prompts", study, registry, layout, "tiny", threads=1)
    return model, lambda text: encode(text).input_ids, (study, registry, layout)


def built(made, method: str) -> torch.Tensor:
    study, registry, layout = made[2]
    path = layout.artefact(method, ".safetensors", "tiny", TASK)
    if not path.exists():
        run_step(method, study, registry, layout, "tiny", threads=1)
    return load_file(path)["vectors"]


def differences(made) -> np.ndarray:
    """[pairs, layers, width] of the pairs with true and with shuffled demonstrations."""
    model, encode, _ = made
    pairs = demonstrated("x", TASK, TRAIN, 4, 2)
    found = [after_blocks(model, encode(true)) - after_blocks(model, encode(false)) for true, false in pairs]
    return torch.stack(found).double().numpy()


def close(found: torch.Tensor, expected) -> None:
    torch.testing.assert_close(found.double(), torch.as_tensor(np.asarray(expected)).double(), rtol=1e-4, atol=1e-4)


def test_the_mean_difference_is_that_of_plain_forwards(made):
    close(built(made, "mean_difference"), differences(made).mean(0))


def test_the_first_component_is_that_of_a_pca_of_differences_in_both_orders(made):
    found, plain = built(made, "first_component"), differences(made)
    for layer in range(made[0].layers):
        mine = plain[:, layer]
        direction = PCA(1, svd_solver="full").fit(np.concatenate([mine, -mine])).components_[0]
        # As theirs: most true demonstrations are on the direction's side.
        if (mine @ direction > 0).sum() < (mine @ direction < 0).sum():
            direction = -direction
        expected = direction * np.linalg.norm(mine.mean(0))
        if (mine @ direction > 0).sum() == (mine @ direction < 0).sum() and found[layer] @ direction < 0:
            expected = -expected
        close(found[layer], expected)


def test_activation_addition_is_the_difference_of_two_aligned_prompts(made):
    model, encode, (_, registry, _) = made
    long, short = encode(registry.task(TASK).description), encode("")
    space = encode(" ")[-1]
    short = [*short, *[space] * (len(long) - len(short))]
    found = built(made, "activation_addition")
    assert found.shape == (model.layers, len(long), model.width)
    for token in range(len(long)):
        close(found[:, token], after_blocks(model, long[: token + 1]) - after_blocks(model, short[: token + 1]))
    assert long[0] != short[0] or not found[:, 0].any()


def test_in_context_vectors_are_parts_of_a_component_over_all_layers(made):
    model, encode, _ = made
    found = built(made, "in_context_vectors")
    order = keyed_generator(EVALUATION_SEED, TASK, "in_context_vectors", 0).permutation(len(TRAIN))[:4]
    mine = [(after_blocks(model, encode(TRAIN[row][1])) - after_blocks(model, encode(TRAIN[row][0]))) for row in order]
    flat = torch.stack(mine).flatten(1).double().numpy()
    pca = PCA(1, svd_solver="full").fit(flat)
    component = pca.components_[0] * np.sign(pca.components_[0] @ pca.mean_)
    joined = (component + pca.mean_).reshape(model.layers, model.width)
    close(found, joined / np.linalg.norm(joined, axis=1, keepdims=True))


def test_inference_time_intervention_shifts_the_heads_with_the_best_probes(made):
    model, encode, _ = made
    found = built(made, "inference_time_intervention")
    pairs = contrasts(TASK, TRAIN, 6, 1)
    outputs = np.stack(
        [
            [oracles.head_outputs(model, encode(text), len(encode(text)) - 1).double().numpy() for text in pair]
            for pair in pairs
        ]
    )
    held = held_out_pairs(TASK, range(6))
    assert held.sum() == 1
    scores, plain = {}, {}
    for layer in range(model.layers):
        for head in range(model.heads):
            mine = outputs[:, :, layer, head]
            labels = np.tile([1, 0], (len(mine), 1))
            probe = LogisticRegression(max_iter=1000).fit(np.concatenate(mine[~held]), labels[~held].ravel())
            scores[layer, head] = probe.score(np.concatenate(mine[held]), labels[held].ravel())
            toward = mine[:, 0].mean(0) - mine[:, 1].mean(0)
            toward /= np.linalg.norm(toward)
            plain[layer, head] = toward * np.std(np.concatenate(mine) @ toward)
    best = sorted(scores, key=lambda place: (-scores[place], place))[:5]
    expected = np.zeros(found.shape)
    for place in best:
        expected[place] = plain[place]
    close(found, expected)
    assert (found.norm(dim=2) > 0).sum() == 5


def edits(model, method: str, vectors: torch.Tensor, strengths, length: int):
    """{(strength, layer): arguments of `oracles.edited`} of one prompt, from the words of each publication."""
    found = {}
    for strength in strengths:
        for layer in range(model.layers):
            if method in ("mean_difference", "first_component"):
                values = {layer: strength * vectors[layer]}
                found[strength, layer] = (range(length), "residual", "add", values)
            if method == "activation_addition":
                count = min(length, vectors.shape[1])
                values = {layer: strength * vectors[layer, :count]}
                found[strength, layer] = (range(count), "residual", "add", values)
        values = {layer: strength * vectors[layer] for layer in range(model.layers)}
        if method == "in_context_vectors":
            found[strength, 0] = (range(length), "residual", "add_keeping_norm", values)
        if method == "inference_time_intervention":
            found[strength, 0] = ([length - 1], "heads", "add", values)
    return found


@pytest.mark.parametrize("method", list(SECTIONS))
def test_a_sweep_has_the_hits_of_one_plain_forward_per_edit(made, method):
    model, _, (study, registry, layout) = made
    vectors, strengths = built(made, method), SECTIONS[method]["strengths"]
    path = layout.artefact("prompts", ".parquet", "tiny", TASK)
    frame, said = read_parquet(path, PROMPTS), {}
    for prompt in frame[frame["kind"] == "query"].itertuples():
        asked = edits(model, method, vectors, strengths, len(prompt.token_ids))
        for (strength, layer), edit in asked.items():
            said[strength, layer, prompt.index] = int(oracles.edited(model, prompt.token_ids, *edit)[-1].argmax())
        # A random model never says the answer, so that of an item is what it says under one of the edits.
        mine = sorted({token for key, token in said.items() if key[2] == prompt.index})
        frame.loc[prompt.Index, "target_id"] = mine[prompt.index % len(mine)]
    write_parquet(path, frame, PROMPTS)
    run_step(f"{method}_sweep", study, registry, layout, "tiny", threads=1)
    sweep = read_parquet(layout.artefact(f"{method}_sweep", ".parquet", "tiny", TASK), STEERING_SWEEP)
    targets = frame[frame["kind"] == "query"].set_index("index")["target_id"]
    hits = sweep.set_index(["strength", "layer", "item"])["hit"]
    assert hits.to_dict() == {key: token == targets[key[2]] for key, token in said.items()}
    assert hits.any()


def test_prompting_asks_with_the_description_and_the_demonstrations_of_the_baseline(made):
    model, encode, (study, registry, layout) = made
    path = layout.artefact("prompts", ".parquet", "tiny", TASK)
    frame = read_parquet(path, PROMPTS)
    said = {}
    for prompt in frame[(frame["kind"] == "icl") & frame["shots"].isin([0, 2])].itertuples():
        text = f"{registry.task(TASK).description}.\n\n{prompt.text}"
        said[float(prompt.shots), 0, prompt.index] = int(oracles.logits(model, encode(text))[-1].argmax())
    run_step("prompting_sweep", study, registry, layout, "tiny", threads=1)
    sweep = read_parquet(layout.artefact("prompting_sweep", ".parquet", "tiny", TASK), STEERING_SWEEP)
    targets = frame[frame["kind"] == "query"].set_index("index")["target_id"]
    hits = sweep.set_index(["strength", "layer", "item"])["hit"].to_dict()
    assert hits == {key: token == targets[key[2]] for key, token in said.items()}


def test_every_method_of_the_package_is_tested_here_or_alone():
    assert set(STEERING) == {*SECTIONS, "prompting", "caa", "vector_file"}
    assert all(steering(name).source and steering(name).label for name in STEERING)


def test_texts_of_two_lengths_are_brought_to_one(made):
    tokenizer = Tokenizer(made[2][2].model_folder("tiny"))
    first, second = aligned(tokenizer, "big", "small and old")
    assert len(first) == len(second) and second == tokenizer.encode("small and old")
    assert first[: len(tokenizer.encode("big"))] == tokenizer.encode("big")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: demonstrated("m", "t", [("a", "b"), ("c", "d")], 1, 2),
            "m: task t has 2 words .* 2 shots need at least 3",
        ),
        (lambda: demonstrated("m", "t", [(word, "same") for word in "abcdef"], 1, 2), "m: all words .* one answer"),
        (lambda: held_out_pairs("t", [7, 7]), "inference_time_intervention.pairs: 1 of t cannot be split"),
        (
            lambda: check_study(load_study(STUDY | {"models": ["tiny-llama"], "prompting": {"strengths": [3]}}), KNOWN),
            r"prompting.strengths: 3 demonstrations are more than function_vectors.shots \(2\)",
        ),
        (
            lambda: steering("prompting").ask(None, dataclasses.replace(KNOWN.task(TASK), description=""), 0),
            "prompting: task antonym has no description",
        ),
        (
            lambda: steering("activation_addition").build(None, dataclasses.replace(KNOWN.task(TASK), description="")),
            "activation_addition: task antonym has no description",
        ),
    ],
)
def test_what_a_method_cannot_be_built_from_is_refused(call, said):
    with pytest.raises(OffcourseError, match=said):
        call()


def test_each_word_gets_the_answer_of_another():
    for true, shuffled in demonstrated("m", TASK, TRAIN, 30, 4):
        lines = [text.splitlines() for text in (true, shuffled)]
        assert [line for line in lines[0] if line[:2] == "Q:"] == [line for line in lines[1] if line[:2] == "Q:"]
        answers = [[line for line in some if line.startswith("A: ")] for some in lines]
        assert all(right != wrong for right, wrong in zip(*answers, strict=True)) and len(answers[0]) == 4


def test_the_plan_counts_the_edits_and_tokens_of_every_method():
    model, study = KNOWN.model("tiny-llama"), load_study(STUDY | {"models": ["tiny-llama"]})
    rows = {name: work(f"{name}_sweep", study, model, None, 4096) for name in (*SECTIONS, "caa", "prompting")}
    # Edits of every token run the prompt anew for each layer; edits of all layers are one edit per strength.
    assert rows["mean_difference"].token_blocks > 2 * rows["caa"].token_blocks
    assert rows["inference_time_intervention"].unembedded < rows["mean_difference"].unembedded
    assert all(found.token_blocks > 0 and found.unembedded > 0 for found in rows.values())
