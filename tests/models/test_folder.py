"""Model folders that transformers would fill with random numbers, ask about or run code for: one message each."""

import dataclasses
import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from offcourse.data.architectures import ARCHITECTURES
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.models.fetch import prepare
from offcourse.models.load import load

LLAMA = ARCHITECTURES["Llama"]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
HEAD, UP = "lm_head.weight", "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def folder(healthy, tmp_path):
    return shutil.copytree(healthy, tmp_path / "model")


def config(**entries):
    """Change entries of config.json; None takes one away."""

    def change(folder):
        found = json.loads((folder / "config.json").read_text()) | entries
        (folder / "config.json").write_text(json.dumps({k: v for k, v in found.items() if v != "gone"}))

    return change


def tensors(change):
    """Rewrite the weights as `change` has them."""

    def rewrite(folder):
        save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})

    return rewrite


def cut(name):
    def change(folder):
        text = (folder / name).read_text()
        (folder / name).write_text(text[: len(text) // 2])

    return change


def write(name, found):
    return lambda folder: (folder / name).write_text(json.dumps(found))


def only_pickle(folder):
    torch.save(load_file(folder / WEIGHTS), folder / "consolidated.00.pth")
    (folder / WEIGHTS).unlink()


def loop(name):
    def change(folder):
        (folder / name).unlink()
        (folder / name).symlink_to(name)

    return change


def without(name):
    return lambda folder: (folder / name).unlink()


# What is done to a healthy folder, and what the message says; both are found before a weight is read.
REFUSED = {
    "no architectures": (config(architectures="gone"), r"`architectures` is null, expected \[\"LlamaForCausalLM\"\]"),
    "null architectures": (config(architectures=None), "`architectures` is null"),
    "text architectures": (config(architectures="LlamaForCausalLM"), r"`architectures` is \"LlamaForCausalLM\""),
    "cut config": (cut("config.json"), r"config\.json is not JSON .* it may be cut"),
    "list as config": (write("config.json", []), r"config\.json holds a list instead of a JSON object"),
    "cut tokenizer_config": (cut("tokenizer_config.json"), r"tokenizer_config\.json is not JSON"),
    "GPTQ": (config(quantization_config={"quant_method": "gptq", "bits": 4}), r"quantised weights \(gptq\)"),
    "bitsandbytes": (config(quantization_config={"load_in_4bit": True}), r"quantised weights \(quantization_config\)"),
    "AWQ": (write("quant_config.json", {"w_bit": 4}), r"quantised weights \(AWQ\)"),
    "adapter": (write("adapter_config.json", {"peft_type": "LORA"}), r"is an adapter \(LoRA\)"),
    "code for the model": (config(auto_map={"AutoModelForCausalLM": "m.X"}), r"trust_remote_code=False everywhere"),
    "code for the tokenizer": (
        write("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["t.X", None]}}),
        "never runs",
    ),
    "other file named": (config(transformers_weights="other.safetensors"), "transformers_weights"),
    "zero heads": (config(num_attention_heads=0), r"num_attention_heads in config\.json is 0, expected a whole number"),
    "negative layers": (config(num_hidden_layers=-4), "num_hidden_layers in config.json is -4"),
    "text layers": (config(num_hidden_layers="4"), r"num_hidden_layers in config\.json is \"4\""),
    "null width": (config(hidden_size=None), r"hidden_size in config\.json is null"),
    "heads that do not divide": (config(num_key_value_heads=3), "4 attention heads and 3 key-value heads"),
    "too many layers": (config(num_hidden_layers=10**9), "says 1000000000 blocks, the files hold 4"),
    "too few layers": (config(num_hidden_layers=3), "says 3 blocks, the files hold 4"),
    "vocabulary above the embedding": (config(vocab_size=513), r"has 513 as vocab_size, but no tensor"),
    "heads of another size": (config(head_dim=10**9), r"4 heads of 1000000000 \(head_dim\)"),
    "index beside a file": (write(INDEX, {"weight_map": {HEAD: "other.safetensors"}}), "not clear which weights"),
    "index out of the folder": (
        lambda folder: [write(INDEX, {"weight_map": {HEAD: "../x.safetensors"}})(folder), without(WEIGHTS)(folder)],
        "not a file of the folder",
    ),
    "index that lies": (write(INDEX, {"weight_map": {HEAD: WEIGHTS}}), r"in no file, the files have it in model\.safe"),
    "only a pickle": (only_pickle, r"in consolidated\.00\.pth only, a pickle"),
    "no weights": (without(WEIGHTS), "it holds no weights"),
    "loop": (loop("config.json"), r"config\.json"),
    "layer missing": (tensors(lambda t: {k: v for k, v in t.items() if ".layers.1." not in k}), "the files hold 3"),
    "compiled": (tensors(lambda t: {f"_orig_mod.{k}": v for k, v in t.items()}), "begin with '_orig_mod.'"),
    "another model": (tensors(lambda t: {"h.0.weight": t[HEAD]}), r"has no tensor model\.layers\.0"),
}
# What only the loaded module shows.
REFUSED_AT_LOAD = {
    "unknown rope": (config(rope_parameters={"rope_type": "weird"}), "rotary positions of the type 'weird'"),
    "unknown rope, as of old": (config(rope_scaling={"type": "weird", "factor": 2}), "the type 'weird'"),
    "unknown activation": (config(hidden_act="weird"), "cannot be loaded as LlamaForCausalLM"),
    "another model_type": (config(model_type="qwen2"), "model_type in config.json is 'qwen2'"),
    "unknown model_type": (config(model_type="weird"), "cannot be loaded as LlamaForCausalLM"),
    "no head": (
        tensors(lambda t: {k: v for k, v in t.items() if k != HEAD}),
        r"lm_head\.weight missing from the files",
    ),
    "a tensor missing": (tensors(lambda t: {k: v for k, v in t.items() if k != UP}), f"{UP} missing"),
    "a tensor too many": (
        tensors(lambda t: t | {"model.extra": torch.ones(2)}),
        r"model\.extra in the files, but unknown",
    ),
    "another shape": (tensors(lambda t: t | {UP: torch.ones(64, 31)}), r"\(files: \[64, 31\], model: \[64, 32\]\)"),
    "integers": (tensors(lambda t: t | {UP: t[UP].to(torch.int8)}), r"\(I8\) stored as something other than floating"),
    "NaN in an unused row": (
        tensors(lambda t: t | {HEAD: t[HEAD].index_fill(0, torch.tensor([400]), float("nan"))}),
        r"lm_head\.weight, 1 of 512 rows \(the first is 400\)",
    ),
    "other frequencies": (
        tensors(lambda t: t | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}),
        "not equal to what the class computes",
    ),
}


@pytest.mark.parametrize(("change", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_a_folder_is_refused_before_it_is_prepared_and_nothing_is_left(folder, change, says, tmp_path):
    change(folder)
    row = dataclasses.replace(Registry.load().model("tiny-llama"), name="mine", source="local", repo=str(folder))
    with pytest.raises(OffcourseError, match=says) as caught:
        prepare(row, Registry.load(), tmp_path / "models" / "mine", tmp_path / "packages")
    assert "mine" in str(caught.value)
    assert list((tmp_path / "models").iterdir()) == []
    with pytest.raises(OffcourseError, match=says):
        load(folder, "Llama", "float32")


@pytest.mark.parametrize(("change", "says"), REFUSED_AT_LOAD.values(), ids=REFUSED_AT_LOAD.keys())
def test_a_model_that_is_not_its_files_is_refused(folder, change, says):
    change(folder)
    with pytest.raises(OffcourseError, match=says):
        load(folder, "Llama", "float32")


@pytest.mark.parametrize("change", [cut("tokenizer.json"), without("tokenizer.json"), loop("tokenizer.json")])
def test_a_tokenizer_is_there_and_whole(folder, change, tmp_path):
    change(folder)
    row = dataclasses.replace(Registry.load().model("tiny-llama"), name="mine", source="local", repo=str(folder))
    with pytest.raises(OffcourseError, match=r"mine.*tokenizer\.json"):
        prepare(row, Registry.load(), tmp_path / "models" / "mine", tmp_path / "packages")
    assert list((tmp_path / "models").iterdir()) == []


def test_code_of_a_model_neither_runs_nor_is_asked_about(folder, tmp_path):
    """A class that transformers does not have, with code beside it: without the check it asks on the terminal."""
    ran = tmp_path / "ran"
    (folder / "m.py").write_text(f"open({str(ran)!r}, 'w')\nclass X: pass\nclass C: pass\n")
    config(model_type="weird", auto_map={"AutoConfig": "m.C", "AutoModelForCausalLM": "m.X"})(folder)
    code = "import sys, pathlib, offcourse.models.load as m; m.load(pathlib.Path(sys.argv[1]), 'Llama', 'float32')"
    done = subprocess.run(
        [sys.executable, "-c", code, folder], input="y\n" * 5, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "[y/N]" not in done.stdout + done.stderr
    assert "OffcourseError" in done.stderr
    assert not ran.exists()


def test_names_without_the_prefix_of_the_whole_model_are_loaded(folder, healthy):
    tensors(lambda t: {name.removeprefix("model."): value for name, value in t.items()})(folder)
    found, expected = load(folder, "Llama", "float32"), load(healthy, "Llama", "float32")
    assert all(map(torch.equal, found.module.parameters(), expected.module.parameters()))


def test_an_index_of_one_file_is_no_contradiction(folder, healthy):
    write(INDEX, {"weight_map": dict.fromkeys(load_file(healthy / WEIGHTS), WEIGHTS)})(folder)
    assert load(folder, "Llama", "float32").layers == 4


def test_a_number_that_float16_cannot_hold_is_refused_in_float16_only(folder):
    tensors(lambda t: t | {UP: t[UP].index_fill(0, torch.tensor([3]), 1e5)})(folder)
    assert load(folder, "Llama", "float32").layers == 4
    with pytest.raises(OffcourseError, match=r"infinite in float16: model\.layers\.1\.mlp\.up_proj\.weight, 1 of 64"):
        load(folder, "Llama", "float16")


def test_a_head_of_its_own_beside_a_configuration_that_ties_is_what_the_module_has(folder):
    config(tie_word_embeddings=True)(folder)
    assert not load(folder, "Llama", "float32").tied
    tensors(lambda t: t | {HEAD: t["model.embed_tokens.weight"].clone()})(folder)
    assert load(folder, "Llama", "float32").tied
    tensors(lambda t: {name: value for name, value in t.items() if name != HEAD})(folder)
    assert load(folder, "Llama", "float32").tied
