"""Classes beyond the paper's: their rows are found by structure, and the engine is exact on each kind of peculiarity.

`make classes` runs all classes of the table; here is one of each kind.
"""

import dataclasses
import os
import shutil
import subprocess
import sys

import pytest
import torch
from every_class import DOCS, LIMIT, error_of, error_of_plain, judged, made, page, plainly, table
from safetensors.torch import load_file, save_file

from offcourse.data.architectures import ARCHITECTURES, architecture, has_heads, name_of, rows_of_classes
from offcourse.data.names import RESOURCES
from offcourse.engine import Engine, attention, locality
from offcourse.engine.checks import engine_agrees
from offcourse.engine.plain import PlainEngine
from offcourse.errors import OffcourseError
from offcourse.models.checks import run_checks
from offcourse.models.file_check import weights_equal_files
from offcourse.models.find import complete_row, find_row
from offcourse.models.load import LanguageModel, load
from offcourse.models.random import random_model
from offcourse.models.tiny import tiny_module
from offcourse.models.weights import output_projections

LISTED = rows_of_classes()
# One class of each kind, and what is particular about it.
KINDS = {
    "Granite": "scaled logits and sub-layers",
    "Cohere2": "scaled logits, parallel blocks, windows",
    "GptOss": "attention sinks, a mixture of experts, windows",
    "Llama4": "chunks, complex rotation",
    "Phimoe": "a window that only the mask states",
    "Gemma4": "inputs of every layer, heads of two sizes",
    "DiffLlama": "two attentions in one layer",
    "NanoChat": "a final norm that runs twice",
    "GPT2": "weights stored as [inputs, outputs]",
    "GPTNeo": "no attention function, windows",
    "DeepseekV3": "latent attention, values of another size than keys",
    "Beam": "queries scaled by position",
    "Dbrx": "attention wrapped into a module with both norms",
}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_class_of_each_kind_is_exact_with_the_row_of_the_table(name):
    listed = LISTED[name]
    found = judged(listed.model_type, listed.causal_lm)
    assert found.why_not == "" and found.error <= LIMIT
    assert found.row == listed.row == architecture(name)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_the_finder_finds_the_rows_that_were_written_by_hand(name):
    listed, row = LISTED[name], ARCHITECTURES[name]
    module = tiny_module(listed.model_type, listed.causal_lm, seed=1)
    assert complete_row(module, find_row(module, name)) == row == listed.row


FAULTY = """
from offcourse.data.architectures import architecture, has_heads, is_class
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
assert Registry.load().model("tiny-llama").architecture == "Llama" and architecture("Phi3").blocks == "model.layers"
assert is_class("Granite") and not is_class("Granit")
for ask in (architecture, has_heads):
    try:
        ask("Granite")
    except OffcourseError as error:
        print(error)
"""


def test_a_wrong_cell_of_a_class_stops_its_models_and_no_other(tmp_path):
    shutil.copytree(RESOURCES, tmp_path / "tables", ignore=shutil.ignore_patterns("downloads"))
    path = tmp_path / "tables" / "classes.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("Granite\t"))
    cells = lines[at].split("\t")
    cells[lines[0].split("\t").index("parallel")] = "perhaps"
    lines[at] = "\t".join(cells)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    environment = os.environ | {"OFFCOURSE_RESOURCES": str(path.parent)}
    done = subprocess.run([sys.executable, "-c", FAULTY], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    said = f"{path}, line {at + 1}, column parallel: expected one of yes, no, got 'perhaps'"
    assert done.stdout.splitlines() == [said, said]


def test_a_class_that_cannot_be_run_is_refused_with_its_name_and_the_reason():
    listed = LISTED["Gemma3n"]
    found = judged(listed.model_type, listed.causal_lm)
    assert found.row is None and found.path == "" and found.why_not == listed.why_not
    with pytest.raises(OffcourseError) as refused:
        architecture("Gemma3n")
    assert listed.causal_lm in str(refused.value) and listed.why_not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "lacks"),
    [("Mamba", ("function_vectors",)), ("Jamba", ("function_vectors",)), ("Doge", ("logit_lens",)), ("Bloom", ())],
)
def test_a_class_without_rows_is_exact_on_the_plain_path(name, lacks):
    listed = LISTED[name]
    found = judged(listed.model_type, listed.causal_lm)
    assert (found.path, found.why_plain, found.lacks) == ("plain", listed.why_plain, lacks)
    assert found.error <= LIMIT and found.row == listed.row == architecture(name)
    assert has_heads(name) is ("function_vectors" not in lacks)


def test_an_edit_that_is_forgotten_on_the_plain_path_is_measured(monkeypatch):
    plain = PlainEngine._edit
    monkeypatch.setattr(PlainEngine, "_edit", lambda self, rows, piece, start: plain(self, rows, piece, 0))
    assert error_of_plain(plainly("lfm2", "Lfm2ForCausalLM")) > 100 * LIMIT


def test_most_classes_of_the_table_are_exact():
    exact = [row for row in LISTED.values() if not row.why_not]
    paths = [row.path for row in LISTED.values()]
    assert len(LISTED) == 84 and paths.count("rows") >= 63 and len(exact) >= 80
    assert all(
        (row.path == "plain") == bool(row.why_plain) and bool(row.path) != bool(row.why_not) for row in LISTED.values()
    )
    assert all(0 < float(row.error) <= LIMIT for row in exact)
    assert all(bool(row.blocks) == (not row.why_not) for row in LISTED.values())
    assert all(name_of(row.causal_lm) == name for name, row in LISTED.items())


def test_the_page_counts_what_the_table_has():
    exact = sum(1 for row in LISTED.values() if not row.why_not)
    plain = sum(1 for row in LISTED.values() if row.path == "plain")
    text = DOCS.read_text(encoding="utf-8")
    assert f"Offcourse runs {exact} of {len(LISTED)} decoder-only classes" in text
    assert f"{exact - plain} with rows of edits beside a prompt, {plain} on the plain path" in text
    assert all(f"| {row.causal_lm} |" in text for row in LISTED.values())


def test_table_and_page_are_written_from_the_verdicts():
    found = {("granite", "GraniteForCausalLM"): judged("granite", "GraniteForCausalLM")}
    [header, row] = table(found).splitlines()
    cells = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert cells["logit_scale"] == "1/logits_scaling" and cells["error"].endswith(("e-07", "e-06"))
    assert cells["path"] == "rows" and cells["why_plain"] == cells["why_not"] == ""
    assert "| GraniteForCausalLM | Granite | " in page(found) and "runs 1 of 1" in page(found)


def changed(name: str, **facts) -> LanguageModel:
    """A tiny model of a listed class whose row is wrong in some facts."""
    model = made(LISTED[name].model_type, LISTED[name].causal_lm)
    return LanguageModel(model.module, dataclasses.replace(model.architecture, **facts))


@pytest.mark.parametrize(
    ("name", "facts"), [("Granite", {"logit_scale": "1"}), ("Cohere2", {"logit_scale": "1"}), ("Llama4", {})]
)
def test_a_forgotten_scale_or_chunk_is_measured(name, facts, monkeypatch):
    if not facts:
        plain = attention.attend
        monkeypatch.setattr(attention, "attend", lambda *args: plain(*args[:7], None, *args[8:]))
    assert error_of(changed(name, **facts)) > 100 * LIMIT


def test_forgotten_sinks_do_not_pass_the_check_at_load(monkeypatch):
    model = made("gpt_oss", "GptOssForCausalLM")
    prompt = [0, *((7 * i) % 500 + 2 for i in range(25))]
    assert all(check["passed"] for check in engine_agrees(Engine(model), prompt).values())
    monkeypatch.setattr(attention, "_weights", lambda scores, sinks: torch.softmax(scores, -1))
    assert not any(check["passed"] for check in engine_agrees(Engine(model), prompt).values())


def test_an_argument_that_attention_does_not_know_is_refused():
    model = made("llama", "LlamaForCausalLM")
    engine = Engine(model)
    part = next(iter(model.localities))
    plain = part.forward
    part.forward = lambda *args, **kwargs: plain(*args, **kwargs, position_bias=torch.ones(1), is_causal=True)
    with pytest.raises(OffcourseError, match="LlamaAttention of transformers hands position_bias to its attention"):
        engine.predict([[1, 2, 3]])


def test_keys_of_another_layer_are_refused():
    """Small Gemma 4 models share keys between layers, which rows that join above those layers lack."""
    module = tiny_module("gemma4_text", "Gemma4ForCausalLM", seed=1, num_kv_shared_layers=2)
    model = LanguageModel(module, architecture("Gemma4"))
    with pytest.raises(OffcourseError, match="keys of another layer"):
        engine_agrees(Engine(model), list(range(2, 20)))


@pytest.mark.parametrize("near", [locality.Locality(), locality.Locality(window=5), locality.Locality(chunk=5)])
def test_localities_say_who_attends_to_whom(near):
    positions = torch.arange(12)
    allowed = near.allows(positions[:, None], positions[None, :])
    for query in range(12):
        for key in range(12):
            expected = key <= query
            if near.window:
                expected = expected and query - key < near.window
            if near.chunk:
                expected = expected and query // near.chunk == key // near.chunk
            assert bool(allowed[query, key]) is expected


def test_a_mask_of_another_kind_is_refused():
    model = made("mistral", "MistralForCausalLM")
    with pytest.raises(OffcourseError, match="neither causal nor a sliding window nor chunks"):
        # Every other token, which no locality describes.
        locality._read(lambda b, h, query, key: (key <= query) & ((query - key) % 2 == 0), model, "Strange")


def test_the_sublayers_of_a_scaled_class_sum_to_its_block(tmp_path):
    from transformers import AutoTokenizer

    from offcourse.models.random import random_tokenizer
    from offcourse.models.tokenizer import Tokenizer

    text = "Q: big\nA: small\n\nQ: hot\nA:"
    random_tokenizer([text] * 3, True).save_pretrained(tmp_path)
    plain = AutoTokenizer.from_pretrained(tmp_path)(text).input_ids
    for name, passed in (("Granite", True), ("Gemma4", False)):
        model = made(LISTED[name].model_type, LISTED[name].causal_lm)
        model.module.config.save_pretrained(tmp_path)
        found = run_checks(model, Tokenizer(tmp_path), plain, text)
        assert found["sub-layers sum to the block output"]["passed"] is passed
        assert found["lens at the last layer equals the logits"]["passed"]


@pytest.mark.parametrize("name", ["Mixtral", "Qwen3Moe", "GptOss", "GPT2", "Dbrx"])
def test_files_of_a_class_are_loaded_and_compared_whatever_it_merges(name, tmp_path):
    random_model(name, 1).save_pretrained(tmp_path)
    model = load(tmp_path, name, "float32")
    assert weights_equal_files(model, tmp_path)["passed"]
    weight, _ = output_projections(tmp_path, architecture(name), {1})[1]
    whole = model.projections[1].weight
    assert torch.equal(weight, whole.T if architecture(name).transposed else whole)
    merged = next((key for key in model.module.state_dict() if "experts" in key), None)
    if merged:
        with torch.no_grad():
            model.module.get_parameter(merged)[-1 if name in ("Mixtral", "Qwen3Moe") else 0].mul_(2)
        assert weights_equal_files(model, tmp_path)["different"] == [merged]


def test_a_lost_expert_is_noticed(tmp_path):
    random_model("Mixtral", 1).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    lost = next(key for key in tensors if "experts.2" in key)
    save_file({key: tensor for key, tensor in tensors.items() if key != lost}, file, metadata={"format": "pt"})
    with pytest.raises(OffcourseError, match="cannot be loaded as MixtralForCausalLM .*conversion of the weights"):
        load(tmp_path, "Mixtral", "float32")
