"""`model.json`: what the registry and the loaded model know, and which methods the model can run."""

import dataclasses
import json

import pytest
import torch

import offcourse.models.load
from offcourse.data.architectures import ARCHITECTURES
from offcourse.data.names import METHODS, PAPER
from offcourse.data.registry import Registry
from offcourse.engine import attention
from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.methods.check_model import DESCRIBED, check_model
from offcourse.models.fetch import prepare
from offcourse.models.find import row_in
from offcourse.models.manifest import weights_digest
from offcourse.models.weights import output_projections
from offcourse.run.context import StepContext
from offcourse.study.config import load_study


@pytest.fixture
def facts(tmp_path):
    """`facts("Gemma2", ["dola"], layers=None)`: of a random model of one class, in a study of some methods."""

    def make(name="Llama", methods=METHODS, n_heads=(2,), settings=None, **columns):
        if name != "Llama":
            columns.setdefault("parameters", None)
        row = Registry.load().model("tiny-llama")
        row = dataclasses.replace(row, name="tiny", repo=name, architecture=name, **columns)
        registry, layout = dataclasses.replace(Registry.load(), models={"tiny": row}), Layout("one", tmp_path)
        grid = {"n_heads": list(n_heads)}
        study = load_study(
            {
                "study": "one",
                "models": ["tiny"],
                "tasks": ["antonym"],
                "methods": list(methods),
                "function_vectors": grid,
            }
            | (settings or {})
        )
        prepare(row, registry, layout.model_folder("tiny"), layout.downloads)
        out = tmp_path / "model.json"
        check_model(StepContext(STEPS["icl"], study, registry, layout, "tiny", threads=1), out)
        return json.loads(out.read_text()), row, layout.model_folder("tiny")

    return make


def test_the_facts_of_the_papers_tables_are_there(facts):
    found, row, folder = facts(tokens="2T", learning_rate="3e-4", licence="MIT", base="")
    for column in (*DESCRIBED, "layers", "heads", "kv_heads", "head_dim", "width", "mlp_width", "vocabulary"):
        assert found[column] == getattr(row, column)
    assert {"norm", "activation", "position_embedding", "attention", "tokens", "learning_rate"} <= found.keys()
    assert (found["context"], found["parameters"], found["adds_bos"]) == (row.context, row.parameters, True)
    assert found["weights_digest"] == weights_digest(folder)


def test_the_loaded_model_tells_its_own_configuration(facts):
    found = facts("Gemma2", kv_heads=None, head_dim=None)[0]["configuration"]
    assert found == {
        "norm": "Gemma2RMSNorm",
        "activation": "gelu_pytorch_tanh",
        "parallel_blocks": False,
        "post_norms": ["post_attention_layernorm", "post_feedforward_layernorm"],
        "attention_output_bias": False,
        "sliding_window": 16,
        "attention_softcap": 5.0,
        "final_softcap": 30.0,
        "tied_embeddings": False,
    }


@pytest.mark.parametrize("name", ["GPTJ", "GPTNeoX"])
def test_parallel_blocks_and_biases_are_told(facts, name):
    found = facts(name, kv_heads=None, mlp_width=None)[0]
    assert found["configuration"]["parallel_blocks"]
    assert found["configuration"]["attention_output_bias"] == (name == "GPTNeoX")
    assert found["configuration"]["activation"].startswith("gelu")


def test_a_column_that_the_model_contradicts_is_named_and_an_empty_one_is_filled(facts):
    assert facts(layers=None, heads=None)[0]["layers"] == 4
    with pytest.raises(OffcourseError, match=r"tiny: layers is 4, the registry says 5; mlp_width is 64, the registry"):
        facts(layers=5, mlp_width=65)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"parameters": 299297}, "parameters is 299296, the registry says 299297"),
        ({"tied_embeddings": True}, "the unembedding has weights of its own, the registry says yes"),
    ],
)
def test_parameters_and_tying_are_those_of_the_registry(facts, columns, says):
    with pytest.raises(OffcourseError, match=f"tiny: {says}"):
        facts(**columns)


@pytest.fixture
def loaded_wrong(monkeypatch):
    """One number of one tensor changes between the file and the loaded model."""
    load = offcourse.models.load.load

    def loads_wrong(*args, **more):
        model = load(*args, **more)
        with torch.no_grad():
            model.blocks[1].mlp.up_proj.weight[0, 0] += 1
        return model

    monkeypatch.setattr("offcourse.models.load.load", loads_wrong)


def test_weights_that_are_not_those_of_the_files_are_refused(facts, loaded_wrong):
    with pytest.raises(OffcourseError, match=r"self-checks failed: the weights are those of the files"):
        facts()


def test_a_model_that_no_method_can_run_is_refused_even_when_the_study_asks_nothing_of_it(facts, loaded_wrong):
    nothing = {"models": ["tiny", "other"], "dola": {"models": ["other"]}}
    with pytest.raises(OffcourseError, match=r"self-checks failed: the weights are those of the files"):
        facts(methods=["dola"], settings=nothing)


def test_a_grid_above_the_models_heads_is_refused_when_only_the_loaded_model_knows_them(facts):
    with pytest.raises(OffcourseError, match=r"n_heads: tiny has 16 heads"):
        facts(layers=None, heads=None, n_heads=[17])


def test_a_model_that_passes_every_check_runs_every_method(facts):
    assert facts()[0]["capabilities"] == {method: {"runs": True, "why_not": []} for method in METHODS}


def test_a_failed_check_stops_the_methods_that_it_speaks_for_and_is_recorded_for_others(facts, monkeypatch):
    """A class whose row forgets its post-norms: the sub-layers, which apathy reads, are not what is added."""
    monkeypatch.setitem(ARCHITECTURES, "Gemma2", dataclasses.replace(ARCHITECTURES["Gemma2"], post_norms=()))
    found = facts("Gemma2", ["function_vectors", "dola"])[0]
    check = "sub-layers sum to the block output"
    assert found["capabilities"]["logit_lens"] == {"runs": False, "why_not": [check]}
    assert {method for method, can in found["capabilities"].items() if can["runs"]} == set(PAPER) - {"logit_lens"}
    assert not found["checks"][check]["passed"]
    with pytest.raises(OffcourseError, match=f"tiny: self-checks failed: {check}"):
        facts("Gemma2", ["dola", "logit_lens"])


def test_the_class_s_row_is_told_with_its_table(facts):
    assert facts("Llama")[0]["row"]["from"] == "src/offcourse/data/architectures.py"
    found = facts("Granite", mlp_width=None)[0]
    assert found["row"]["from"] == "resources/classes.tsv" and found["row"]["logit_scale"] == "1/logits_scaling"
    assert all(method["runs"] for method in found["capabilities"].values())


def test_a_class_without_a_row_is_found_by_structure(facts):
    found, _, folder = facts("Cohere2Moe", mlp_width=None)
    assert found["row"] == {
        "from": "found by structure",
        "blocks": "model.layers",
        "final_norm": "model.norm",
        "attention_output": "self_attn.o_proj",
        "mlp_output": "mlp",
        "logit_scale": "logit_scale",
        "residual_scale": "1",
    }
    # Function vectors read the output projections from the files.
    row = row_in(folder, "Cohere2Moe")
    assert row.found and output_projections(folder, row, {1})[1][0].shape == (32, 32)


def test_a_found_row_that_fails_a_check_is_refused_with_class_and_error(facts, monkeypatch):
    monkeypatch.setattr(attention, "_capped", lambda scores, softcap: scores * 0.9)
    with pytest.raises(
        OffcourseError,
        match=r"tiny: Cohere2MoeForCausalLM is in no table .* found by structure. Self-checks failed: .*limit",
    ):
        facts("Cohere2Moe", mlp_width=None)


def test_a_found_row_whose_pass_breaks_is_refused_with_the_reason(facts, monkeypatch):
    monkeypatch.setattr(attention, "_weights", lambda scores, sinks: scores[..., 1:])
    with pytest.raises(OffcourseError, match="Cohere2MoeForCausalLM .* A pass of the engine fails .RuntimeError"):
        facts("Cohere2Moe", mlp_width=None)


def test_logits_that_are_scaled_by_an_unknown_entry_are_noticed(facts):
    with pytest.raises(OffcourseError, match=r"lens at the last layer equals the logits \(error"):
        facts("HyperCLOVAX", mlp_width=None)
