"""A study with models on the plain path: every step that makes sense for them, against one plain forward per edit."""

import dataclasses
import json

import oracles
import pandas as pd
import pytest
import torch
from plain_models import registry_with
from safetensors.torch import load_file

from offcourse.data.registry import Registry
from offcourse.graph.keys import STEPS, checked_by, key_parts, steps_of
from offcourse.graph.products import products_of
from offcourse.graph.study_files import results_of
from offcourse.layout import Layout
from offcourse.methods.check_model import check_model
from offcourse.models.fetch import prepare
from offcourse.run import products
from offcourse.run.job import run_step
from offcourse.run.plain_context import context_of
from offcourse.study.check import check_study
from offcourse.study.config import load_study

STUDY = {
    "study": "plain",
    "models": ["tiny-falcon", "tiny-mamba"],
    "tasks": ["antonym"],
    "methods": ["function_vectors", "task_vectors", "dola", "logit_lens", "caa"],
    "function_vectors": {
        "models": ["tiny-falcon"],
        "shots": 2,
        "trials": 2,
        "n_heads": [2],
        "strengths": [4],
        "test_items": 3,
        "controls": ["read_position"],
    },
    "task_vectors": {"shots": 2, "dev_items": 2, "test_items": 2, "baseline_items": 2},
    "dola": {"limit": 2, "alphas": [0.0, 0.1]},
    "logit_lens": {"limit": 3},
    "caa": {"pairs": 2, "shots": 1, "strengths": [4], "passages": 12},
}
# The products whose numbers are of models without heads, or of blocks without a feed-forward network.
SHOWN = ("table_methods", "certainty", "figure_apathy", "figure_caa")


class Made:
    """The study after all steps of both models."""

    def __init__(self, folder):
        self.study, self.registry = load_study(STUDY), registry_with("Falcon", "Mamba")
        self.layout = Layout("plain", folder)
        check_study(self.study, self.registry)
        self.contexts = {}
        for name in self.study.models:
            row, step = self.registry.model(name), checked_by(self.study, name)
            prepare(row, self.registry, self.layout.model_folder(name), self.layout.downloads)
            context = self.contexts[name] = context_of(step, self.study, self.registry, self.layout, name, 1)
            check_model(context, self.layout.results / name / "model.json")
            for each in steps_of(self.study, name):
                run_step(each, self.study, self.registry, self.layout, name, 1)

    def table(self, model: str, step: str, unit: str = "antonym") -> pd.DataFrame:
        return pd.read_parquet(self.layout.artefact(step, ".parquet", model, unit))

    def tensors(self, model: str, step: str) -> dict[str, torch.Tensor]:
        return load_file(self.layout.artefact(step, ".safetensors", model, "antonym"))

    def prompts(self, model: str, kind: str) -> pd.DataFrame:
        frame = self.table(model, "prompts")
        return frame[frame["kind"] == kind].reset_index(drop=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    return Made(tmp_path_factory.mktemp("plain"))


def hit(logits: torch.Tensor, target: int) -> bool:
    return bool(logits[target] >= logits.max())


def test_model_json_says_which_path_and_why(made):
    for name, runs in (("tiny-falcon", True), ("tiny-mamba", False)):
        facts = json.loads((made.layout.results / name / "model.json").read_text())
        assert facts["path"]["name"] == "plain" and "rows of edits cannot be run" in facts["path"]["why"]
        assert facts["capabilities"]["function_vectors"]["runs"] is runs
        assert all(can["runs"] for name, can in facts["capabilities"].items() if name != "function_vectors")
    assert facts["capabilities"]["function_vectors"]["why_not"] == ["every block has attention heads"]


def test_the_steps_are_those_that_make_sense(made):
    of_heads = {"head_means", "cie", "function_vectors", "fv_sweep", "fv_controls"}
    falcon, mamba = (set(steps_of(made.study, name)) for name in made.study.models)
    assert falcon - mamba == of_heads and {"icl", "caa_sweep", "tv_sweep", "dola", "apathy"} <= mamba


def test_effects_of_heads_equal_one_forward_per_head(made):
    model, means = made.contexts["tiny-falcon"].engine.model, made.tensors("tiny-falcon", "head_means")["mean"]
    prompts, effects = made.prompts("tiny-falcon", "cie"), made.table("tiny-falcon", "cie")
    for prompt in prompts.itertuples():
        clean = oracles.probability(model, prompt.token_ids, prompt.target_id)
        mine = effects[effects["trial"] == prompt.index]
        expected = [
            oracles.head_patched(model, prompt.token_ids, prompt.target_id, layer, head, means[layer, head]) - clean
            for layer, head in zip(mine["layer"], mine["head"], strict=True)
        ]
        torch.testing.assert_close(
            torch.tensor(mine["effect"].to_numpy()), torch.tensor(expected).float(), rtol=1e-3, atol=1e-8
        )
        assert mine["effect"].abs().max() > 1e-6


def test_sweeps_equal_one_forward_per_edit(made):
    for name, step, vectors in (
        ("tiny-falcon", "fv_sweep", made.tensors("tiny-falcon", "function_vectors")["n_heads=2"].expand(4, -1)),
        ("tiny-mamba", "caa_sweep", made.tensors("tiny-mamba", "caa")["vectors"]),
    ):
        model, found = made.contexts[name].engine.model, made.table(name, step)
        for item, prompt in enumerate(made.prompts(name, "query").itertuples()):
            for layer in range(model.layers):
                logits = oracles.residual_edited(model, prompt.token_ids, layer, 4 * vectors[layer])
                [mine] = found[(found["item"] == item) & (found["layer"] == layer)]["hit"]
                assert bool(mine) is hit(logits, prompt.target_id)


@torch.inference_mode()
def test_readings_of_a_state_alone_equal_plain_forwards(made):
    context = made.contexts["tiny-mamba"]
    [part] = context.engine.readings([[5, 6, 7, 8]])
    lens, apathy = (made.table("tiny-mamba", step, "misconceptions-mc") for step in ("logit_lens", "apathy"))
    assert apathy["mlp"].isna().all() and apathy["mha"].notna().all() and lens.notna().all().all()
    logits = oracles.logits(context.engine.model, [5, 6, 7, 8])[-1]
    torch.testing.assert_close(context.engine.model.head(part.final[0]), logits, rtol=1e-4, atol=1e-4)


def test_scores_of_dola_are_log_probabilities_of_plain_forwards(made):
    from offcourse.data.names import RESOURCES
    from offcourse.data.questions import evaluated, prompt_text
    from offcourse.methods.dola import tokenized

    context, row = made.contexts["tiny-mamba"], made.registry.question_set("misconceptions")
    questions, shots = evaluated(row, 2, 0, RESOURCES, made.layout.downloads)
    base = made.table("tiny-mamba", "dola", "misconceptions").query("variant == 'base'")
    for number, question in enumerate(questions):
        text = prompt_text(row.form, question, shots)
        for answer in tokenized(context.tokenizer.encode, text, question, number):
            logits = oracles.logits(context.engine.model, answer.ids).log_softmax(-1)
            expected = sum(float(logits[at, token]) for at, token in zip(answer.positions, answer.targets, strict=True))
            [score] = base.query(f"question == {number} and answer == {answer.answer}")["score"]
            assert score == pytest.approx(expected, rel=1e-4)


def test_keys_hold_the_path_s_code_and_those_of_other_classes_do_not(made):
    for name, plain in (("tiny-mamba", True), ("tiny-llama", False)):
        if not plain:
            prepare(made.registry.model(name), made.registry, made.layout.model_folder(name), made.layout.downloads)
        digests = {"prompts": "its digest"}
        parts = key_parts(STEPS["icl"], made.study, made.registry, made.layout, name, "antonym", digests)
        assert ("offcourse.engine.plain" in parts["class"].get("code", {})) is plain
        assert not any("plain" in module for module in parts["code"])


def test_a_class_of_no_table_takes_the_plain_path_when_rows_are_refused(tmp_path):
    row = dataclasses.replace(
        Registry.load().model("tiny-llama"), name="found", repo="FalconMamba", architecture="FalconMamba"
    )
    empty = dict.fromkeys(("parameters", "layers", "heads", "kv_heads", "head_dim", "mlp_width", "context"))
    row = dataclasses.replace(row, **empty)
    registry, layout = dataclasses.replace(Registry.load(), models={"found": row}), Layout("found", tmp_path)
    study = load_study({"study": "found", "models": ["found"], "tasks": ["antonym"], "methods": ["task_vectors"]})
    check_study(study, registry)
    prepare(row, registry, layout.model_folder("found"), layout.downloads)
    context = context_of(STEPS["tv_icl"], study, registry, layout, "found", 1)
    check_model(context, tmp_path / "model.json")
    facts = json.loads((tmp_path / "model.json").read_text())
    assert facts["row"]["from"] == "found by structure" and facts["path"]["name"] == "plain"
    assert "4 of 4 blocks have no attention (but FalconMambaMixer)" in facts["path"]["why"]
    assert facts["capabilities"]["task_vectors"]["runs"] and not facts["capabilities"]["function_vectors"]["runs"]


@pytest.mark.parametrize("name", SHOWN)
def test_products_of_models_without_heads_are_made(made, name):
    product = products_of(made.study, made.registry)[name]
    for model in product.instances(made.study):
        results = results_of(made.study, made.registry, made.layout)
        products.make(product, results, product.pages(made.study, made.registry, model))
    if name == "table_methods":
        cells = pd.read_parquet(made.layout.results / "tables/table_methods.parquet")
        counts = cells.query("column == '0-shot'").set_index("row")["n"]
        assert counts["Function vectors"] == 1 and counts["CAA"] == 2
    if name == "figure_apathy":
        [drawn] = [file for file in product.own_files(made.study, made.registry, None) if file.endswith(".parquet")]
        numbers = pd.read_parquet(made.layout.results / drawn)
        assert set(numbers.query("model == 'tiny-mamba'")["line"]) == {"mha", "top"}
