"""The steps of function vectors against loops over plain forwards, from the prompts file to the sweep's table."""

import dataclasses
from functools import cache

import oracles
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from offcourse.data.registry import Registry
from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.models.fetch import prepare
from offcourse.models.load import load
from offcourse.run.job import run_step
from offcourse.schemas.io import read_parquet, write_parquet
from offcourse.schemas.prompts import PROMPTS
from offcourse.study.config import load_study

TASK = "present-past"
# Every axis of the sweep has a length of its own: 2 numbers of heads, 3 strengths, 4 layers, 5 items.
SETTINGS = {"shots": 2, "trials": 3, "n_heads": [7, 2], "strengths": [40, 1, 6], "test_items": 5}
KEPT = {"cie_output_bias": "kept", "fv_output_bias": "excluded"}
# GPT-NeoX has biases in its attention output, Llama has none.
CASES = {"Llama": ("Llama", {}), "GPTNeoX": ("GPTNeoX", {}), "GPTNeoX, bias kept": ("GPTNeoX", KEPT)}


class Run:
    """The steps on a random model of one class, on prompts whose answers the model gives now and then.

    A random model never says the answer of a task, and a table without hits would look right in any order.
    """

    def __init__(self, folder, name: str, switches: dict):
        registry = Registry.load()
        row = dataclasses.replace(registry.model("tiny-llama"), name="tiny", repo=name, architecture=name)
        self.registry, self.layout = dataclasses.replace(registry, models={"tiny": row}), Layout("one", folder)
        self.study = load_study(
            {
                "study": "one",
                "models": ["tiny"],
                "tasks": [TASK],
                "function_vectors": SETTINGS,
                "protocol": {"base": "as_published", **switches},
            }
        )
        self.drop_bias = self.study.protocol.cie_output_bias == "dropped"
        self.with_bias = self.study.protocol.fv_output_bias == "per_head"
        prepare(row, self.registry, self.layout.model_folder("tiny"), self.layout.downloads)
        self.model = load(self.layout.model_folder("tiny"), name, "float32")
        self("prompts")
        # Hits in a pattern that no reversal or exchange of shots and items repeats.
        self.answer("icl", lambda p: p.target_id if (3 * p.index + p.shots) % 4 else self.said(p))
        # An answer that is likely is one whose probability an edit can change.
        self.answer("cie", self.said)
        for step in ("icl", "head_means", "cie", "function_vectors"):
            self(step)
        vectors = self.tensors("function_vectors")
        settings = [(k, strength, layer) for k in (2, 7) for strength in (1, 6, 40) for layer in range(4)]

        def said_under_a_setting(prompt):
            k, strength, layer = settings[7 * prompt.index % len(settings)]
            edited = oracles.residual_edited(self.model, prompt.token_ids, layer, strength * vectors[f"n_heads={k}"])
            return int(edited.argmax())

        self.answer("query", said_under_a_setting)
        self("fv_sweep")

    def __call__(self, step: str) -> None:
        run_step(step, self.study, self.registry, self.layout, "tiny", threads=1)

    def path(self, step: str):
        return self.layout.artefact(step, STEPS[step].suffix, "tiny", TASK)

    def table(self, step: str) -> pd.DataFrame:
        return read_parquet(self.path(step), STEPS[step].schema)

    def tensors(self, step: str) -> dict[str, torch.Tensor]:
        return load_file(self.path(step))

    def prompts(self, kind: str) -> list:
        frame = self.table("prompts")
        return list(frame[frame["kind"] == kind].itertuples())

    def answer(self, kind: str, target) -> None:
        """Let `target(prompt)` be the answer of the prompts of one kind."""
        frame = self.table("prompts")
        for prompt in self.prompts(kind):
            frame.loc[prompt.Index, "target_id"] = target(prompt)
        write_parquet(self.path("prompts"), frame, PROMPTS)

    def said(self, prompt) -> int:
        return int(oracles.logits(self.model, prompt.token_ids)[-1].argmax())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`made("Llama")`: one run per case."""
    return cache(lambda case: Run(tmp_path_factory.mktemp("study"), *CASES[case]))


@pytest.fixture(params=CASES)
def run(request, made):
    return made(request.param)


def test_baselines_equal_one_forward_per_prompt(run):
    found = run.table("icl").set_index(["shots", "item"])["hit"]
    expected = {(p.shots, p.index): run.said(p) == p.target_id for p in run.prompts("icl")}
    assert found.to_dict() == expected
    assert set(expected.values()) == {True, False}


def test_head_means_equal_the_mean_over_forwards(run):
    prompts = run.prompts("head_mean")
    assert len(prompts) == 3
    expected = torch.stack([oracles.head_outputs(run.model, p.token_ids, p.read_position) for p in prompts]).mean(0)
    torch.testing.assert_close(run.tensors("head_means")["mean"], expected, rtol=1e-4, atol=1e-5)


def test_effects_equal_one_forward_per_head(run):
    means = run.tensors("head_means")["mean"]
    found = run.table("cie").set_index(["trial", "layer", "head"])["effect"]
    assert len(found) == 3 * 4 * 4
    for trial, prompt in enumerate(run.prompts("cie")):
        ids, target = prompt.token_ids, prompt.target_id
        clean = oracles.probability(run.model, ids, target)
        for layer in range(4):
            for head in range(4):
                value = means[layer, head]
                patched = oracles.head_patched(run.model, ids, target, layer, head, value, run.drop_bias)
                assert found[trial, layer, head] == pytest.approx(patched - clean, rel=1e-3, abs=1e-6)
    assert found.abs().max() > 1e-3


@torch.inference_mode()
def test_vectors_equal_one_call_of_the_projection_per_head(run):
    means = run.tensors("head_means")["mean"]
    effects = run.table("cie").groupby(["layer", "head"])["effect"].mean().sort_values(ascending=False, kind="stable")
    found = run.tensors("function_vectors")
    assert set(found) == {"n_heads=2", "n_heads=7"}
    for k in (2, 7):
        expected = torch.zeros(run.model.width)
        for layer, head in effects.index[:k]:
            slots, projection = torch.zeros(4, run.model.head_dim), run.model.projections[layer]
            slots[head] = means[layer, head]
            # A call adds the bias, if there is one: once per head, as published.
            expected += projection(slots.flatten())
            if projection.bias is not None and not run.with_bias:
                expected -= projection.bias
        torch.testing.assert_close(found[f"n_heads={k}"], expected, rtol=1e-4, atol=1e-5)


def test_the_bias_switches_show(made):
    """Each run equals its own loop (above); here, that the loops differ by what the switches say."""
    published, kept = made("GPTNeoX"), made("GPTNeoX, bias kept")
    assert all(projection.bias.abs().min() > 0 for projection in published.model.projections)
    assert torch.equal(published.tensors("head_means")["mean"], kept.tensors("head_means")["mean"])
    effects = [run.table("cie")["effect"] for run in (published, kept)]
    assert (effects[0] - effects[1]).abs().max() > 1e-3
    vectors = [run.tensors("function_vectors")["n_heads=2"] for run in (published, kept)]
    assert (vectors[0] - vectors[1]).abs().max() > 0.1


def test_the_sweep_equals_one_forward_per_setting_layer_and_item(run):
    vectors = run.tensors("function_vectors")
    found = run.table("fv_sweep").set_index(["n_heads", "strength", "layer", "item"])["hit"]
    expected = {}
    for k in (2, 7):
        for strength in (1.0, 6.0, 40.0):
            for layer in range(4):
                for prompt in run.prompts("query"):
                    edit = strength * vectors[f"n_heads={k}"]
                    said = int(oracles.residual_edited(run.model, prompt.token_ids, layer, edit).argmax())
                    expected[k, strength, layer, prompt.index] = said == prompt.target_id
    assert found.to_dict() == expected
    # Exchanging two settings, layers or items of any axis would show: no two slices of the grid are alike.
    for axis in found.index.names:
        slices = found.unstack(axis)
        assert slices.T.drop_duplicates().shape[0] == slices.shape[1]
