"""`offcourse add-model`: a row of models.tsv from a folder, a GGUF file or a repository, and what is refused."""

import contextlib
import io
import json
import os
import re
import shutil
import struct
import subprocess

import gguf
import hub
import pytest
import torch
from bin_files import in_bins
from forking import environment, python
from safetensors.torch import load_file, save_file
from tiny_gguf import write_gguf

from offcourse.cli import app
from offcourse.data import names
from offcourse.data.names import RESOURCES
from offcourse.data.pins import LOCK, read_lock
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.files import sha256
from offcourse.models.fetch import prepare
from offcourse.models.random import write_random_model

TEXTS = ["big small hot cold new old good bad"]
STUDY = "study: mine\nmodels: [{name}]\ntasks: [antonym]\nmethods: [task_vectors]\n"


class Desk:
    """A copy of the tables, two models of the user's own, and the user's commands."""

    def __init__(self, folder, made):
        self.folder, self.resources = folder, folder / "resources"
        shutil.copytree(RESOURCES, self.resources, ignore=shutil.ignore_patterns("downloads"))
        shutil.copytree(made, folder / "models")
        self.table = self.resources / "models.tsv"

    def offcourse(self, *words, **variables):
        """A command: in this process, or in one of its own where variables of the hub's client are set."""
        if variables:
            return self.started(*words, **variables)
        code, out, err = 0, io.StringIO(), ""
        with contextlib.redirect_stdout(out), contextlib.chdir(self.folder):
            try:
                app([str(word) for word in words], standalone_mode=False)
            except OffcourseError as error:
                code, err = error.exit_code, f"offcourse: {error}\n"
        # As the command prints it: what was said before a refusal is not looked at.
        return subprocess.CompletedProcess(words, code, out.getvalue(), err)

    def started(self, *words, **variables):
        own = {"OFFCOURSE_RESOURCES": str(self.resources)} | variables
        command = [python(), "-m", "offcourse", *map(str, words)]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, env=environment() | own, timeout=300, check=False
        )

    def add(self, *words, **variables):
        done = self.offcourse("add-model", *words, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *words, **variables):
        """The message of a command that must fail and write nothing."""
        before = {path: path.read_bytes() for path in self.resources.rglob("*") if path.is_file()}
        done = self.offcourse("add-model", *words, **variables)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        said = done.stderr[done.stderr.index("offcourse: ") :]
        assert "Traceback" not in done.stderr and said.count("\n") == 1 and "othing was written" in said
        assert {path: path.read_bytes() for path in self.resources.rglob("*") if path.is_file()} == before
        return said

    def change(self, **entries):
        """Change entries of my-llama's config.json."""
        path = self.folder / "models" / "my-llama" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    for name, architecture in (("my-llama", "Llama"), ("My Granite", "Granite"), ("mixture", "Qwen3Moe")):
        write_random_model(folder / name, architecture, 1, TEXTS)
    return folder


@pytest.fixture
def desk(made, tmp_path, monkeypatch):
    desk, load = Desk(tmp_path, made), Registry.load
    monkeypatch.setattr(names, "RESOURCES", desk.resources)
    monkeypatch.setattr(Registry, "load", lambda folder=desk.resources, locked=True: load(folder, locked))
    return desk


def test_the_row_is_the_registry_s_own_of_this_model(desk):
    """The tiny Llama of the table is the same model, from another seed."""
    said = desk.add("models/my-llama")
    assert "14 of 14 self-checks passed" in said and "my-llama was added" in said
    registry = Registry.load(desk.resources)
    found, known = registry.model("my-llama"), registry.model("tiny-llama")
    same = ("architecture", "parameters", "layers", "heads", "kv_heads", "head_dim", "width", "mlp_width", "vocabulary")
    same += ("tied_embeddings", "context", "norm", "position_embedding", "activation", "attention", "dtype", "methods")
    assert [getattr(found, column) for column in same] == [getattr(known, column) for column in same]
    assert (found.source, found.repo, found.label, found.post_trained) == ("local", "models/my-llama", "My Llama", "")
    assert desk.table.read_text().startswith((RESOURCES / "models.tsv").read_text())
    study = desk.folder / "mine.yaml"
    study.write_text(STUDY.format(name="my-llama"))
    planned = desk.offcourse("plan", "--rates", "a100", "--configfile", study)
    assert planned.returncode == 0, planned.stderr


def test_a_dry_run_shows_the_row_and_writes_nothing(desk):
    before = desk.table.read_bytes()
    said = desk.add("models/My Granite", "--dry-run", "--label", "Mine")
    assert "architecture        Granite" in said and "name                my-granite" in said and "Mine" in said
    assert "Nothing was written" in said and desk.table.read_bytes() == before


def test_a_mixture_of_experts_has_the_width_of_one_expert(desk):
    said = desk.add("models/mixture", "--name", "mine", "--no-checks")
    assert "mlp_width           32" in said and "self-checks run before the model's first result" in said
    assert Registry.load(desk.resources).model("mine").architecture == "Qwen3Moe"


def test_a_gguf_file_is_pinned_by_its_sha256(desk):
    write_gguf(desk.folder / "mine.gguf", 0)
    said = desk.add("mine.gguf")
    registry = Registry.load(desk.resources)
    row = registry.model("mine")
    assert "14 of 14 self-checks passed" in said
    assert (row.source, row.revision, row.dtype) == ("local", sha256(desk.folder / "mine.gguf"), "float32")
    write_gguf(desk.folder / "mine.gguf", 1)
    os.chdir(desk.folder)
    with pytest.raises(OffcourseError, match="it is another file than the one that was added"):
        prepare(row, registry, desk.folder / "prepared", desk.folder / "downloads")


def test_a_repository_is_filled_and_pinned(desk):
    with hub.serving(hub.Hub(folders={"Me/My-Llama": desk.folder / "models" / "my-llama"})) as served:
        said = desk.add("Me/My-Llama", "--revision", "v1", **served.environment(desk.folder / "home"))
        assert not any("model.safetensors" in path for path in served.asked)
    assert "self-checks run before the model's first result" in said and "my-llama is pinned" in said
    pin = read_lock(desk.resources / LOCK)["my-llama"]
    assert (pin.revision, pin.commit) == ("v1", hub.commit("Me/My-Llama", "v1"))
    row = Registry.load(desk.resources).model("my-llama")
    assert row.pinned and (row.source, row.licence, row.parameters) == ("hub", "apache-2.0", 299296)


def test_a_repository_that_cannot_be_had(desk):
    with hub.serving(hub.Hub(unknown={"Me/Nothing"}, missing={("Me/X", "v9")})) as served:
        own = served.environment(desk.folder / "home")
        said = desk.refused("Me/Nothing", **own)
        assert "Me/Nothing at main was not found on the hub" in said and "models.tsv" not in said
        said = desk.refused("Me/X", "--revision", "v9", **own)
        assert "has no branch, tag or commit 'v9': https://huggingface.co/Me/X/tree/main lists them" in said
        assert "Name one of them (--revision)" in said
        assert "has no config.json" in desk.refused("Me/Empty", **own)
    assert "the hub cannot be asked about a/b" in desk.refused(
        "a/b", HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0"
    )


def test_a_name_that_is_taken(desk):
    assert "has a model 'tiny-llama' already" in desk.refused("models/my-llama", "--name", "tiny-llama")
    assert "column name: expected a name" in desk.refused("models/my-llama", "--name", "Bad Name")


def test_a_label_that_is_taken(desk):
    said = desk.refused("models/my-llama", "--label", "SmolLM2 135M Instruct")
    assert "the label 'SmolLM2 135M Instruct' is the one of model 'smollm2-135m-instruct'" in said


def test_weights_that_are_cut_are_not_to_be_deleted(desk):
    """The folder may be the user's only copy, and nothing prepares it anew."""
    weights = desk.folder / "models" / "my-llama" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    said = desk.refused("models/my-llama")
    assert "cannot be read as safetensors" in said and "Use an undamaged copy of the model's files." in said
    assert "delete" not in said.lower()


def test_something_that_is_no_model(desk):
    (desk.folder / "empty").mkdir()
    (desk.folder / "cut.gguf").write_bytes(b"GGUF, but no more than that")
    assert "has no config.json, so it is no model folder" in desk.refused("empty")
    assert "cut.gguf cannot be read as a GGUF model" in desk.refused("cut.gguf")
    (desk.folder / "magic.gguf").write_bytes(b"GGUF")
    assert "magic.gguf cannot be read as a GGUF model" in desk.refused("magic.gguf")
    assert "there is no file gone.gguf" in desk.refused("gone.gguf")
    assert "models/my-llama/config.json is no GGUF file" in desk.refused("models/my-llama/config.json")
    assert "no folder, no GGUF file, and no repository" in desk.refused("nothing")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, "has an encoder and a decoder"),
        ({"architectures": ["BertModel"]}, "BertModel, which is no causal language model"),
        ({"architectures": ["T5ForConditionalGeneration"]}, "has an encoder and a decoder"),
        ({"architectures": ["BartForCausalLM"], "model_type": "bart"}, "BartForCausalLM: a list of 4 blocks was not"),
        ({"architectures": ["LlavaForConditionalGeneration"], "vision_config": {}}, "wraps a language model"),
        # transformers lists these two as causal language models.
        ({"architectures": ["Gemma3ForConditionalGeneration"], "text_config": {}}, "wraps a language model"),
        ({"architectures": ["Gemma4ForConditionalGeneration"], "text_config": {}}, "wraps a language model"),
        ({"architectures": ["MineForCausalLM"]}, "MineForCausalLM, which is no causal language model"),
        (
            {"architectures": ["Gemma3nForCausalLM"]},
            "Gemma3nForCausalLM of transformers cannot be run: .* a token has several streams",
        ),
        ({"architectures": None}, "names no class"),
        ({"model_type": "qwen2"}, "model_type in config.json is 'qwen2', which is not the one of LlamaForCausalLM"),
        ({"auto_map": {"AutoModel": "mine.Model"}}, "auto_map"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised weights"),
        ({"hidden_act": "mine"}, "transformers cannot build a model from config.json"),
    ],
)
def test_a_class_that_cannot_be_run(desk, entries, message):
    desk.change(**entries)
    assert re.search(message, desk.refused("models/my-llama"))


@pytest.mark.parametrize("parts", [1, 3])
def test_a_folder_with_weights_in_bin_files_is_the_same_model(desk, parts):
    added = desk.add("models/my-llama", "--name", "first")
    folder = desk.folder / "models" / "my-llama"
    in_bins(folder, parts)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    said = desk.add("models/my-llama", "--name", "second")
    assert "14 of 14 self-checks passed" in said
    assert said.replace("second", "first").replace("Second", "First") == added
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    registry = Registry.load(desk.resources)
    os.chdir(desk.folder)
    prepare(registry.model("second"), registry, desk.folder / "prepared", desk.folder / "downloads")


def test_bin_files_that_are_refused(desk):
    folder = desk.folder / "models" / "my-llama"
    in_bins(folder, 2)
    index = folder / "pytorch_model.bin.index.json"
    index.rename(folder / "kept")
    assert f"and no {index.name}, which names all of its files" in desk.refused("models/my-llama")
    for part in folder.glob("*.bin"):
        part.unlink()
    torch.save({"model.norm.weight": [1.0, 2.0]}, folder / "pytorch_model.bin")
    assert "pytorch_model.bin holds something other than tensors by name" in desk.refused("models/my-llama")
    (folder / "pytorch_model.bin").rename(folder / "consolidated.00.pth")
    assert "neither safetensors nor pytorch_model.bin (consolidated.00.pth)" in desk.refused("models/my-llama")


def test_a_folder_without_weights_or_tokenizer(desk):
    folder = desk.folder / "models" / "my-llama"
    kept = (folder / "model.safetensors").rename(desk.folder / "kept")
    assert "has no weights that can be read" in desk.refused("models/my-llama")
    write_gguf(folder / "q8.gguf", 0)
    assert "Give the GGUF file itself: offcourse add-model q8.gguf" in desk.refused("models/my-llama")
    kept.rename(folder / "model.safetensors")
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in desk.refused("models/my-llama")
    (folder / "config.json").rename(folder / "adapter_config.json")
    assert "it is an adapter (LoRA)" in desk.refused("models/my-llama")


def retyped(file, number):
    """Let a GGUF file say that the numbers of one tensor are of another type."""
    data, name = bytearray(file.read_bytes()), b"blk.0.attn_q.weight"
    at = data.index(name) + len(name)
    (dimensions,) = struct.unpack_from("<I", data, at)
    struct.pack_into("<I", data, at + 4 + 8 * dimensions, number)
    file.write_bytes(data)


@pytest.mark.parametrize("number", [gguf.GGMLQuantizationType.Q8_1, gguf.GGMLQuantizationType.F64, 999])
def test_a_type_of_gguf_numbers_that_cannot_be_read(desk, number):
    write_gguf(desk.folder / "mine.gguf", 0)
    retyped(desk.folder / "mine.gguf", int(number))
    assert "Its numbers are of a type that cannot be read: use a file of another type" in desk.refused("mine.gguf")


def test_a_gguf_file_of_a_class_that_is_not_known(desk):
    write_gguf(desk.folder / "mine.gguf", 0)
    data = (desk.folder / "mine.gguf").read_bytes()
    (desk.folder / "mine.gguf").write_bytes(data.replace(b"llama", b"mamma"))
    assert "architecture mamma is not supported yet.). Use a model of another class" in desk.refused("mine.gguf")


def test_weights_that_fail_the_checks_are_not_added(desk):
    file = desk.folder / "models" / "my-llama" / "model.safetensors"
    tensors = load_file(file)
    name = "model.layers.1.mlp.down_proj.weight"
    save_file(tensors | {name: torch.full_like(tensors[name], float("nan"))}, file, metadata={"format": "pt"})
    assert f"NaN or infinite in float32: {name}" in desk.refused("models/my-llama")


def test_a_wrong_cell_stops_the_studies_that_use_its_row_and_no_other(desk):
    desk.add("models/my-llama", "--no-checks")
    lines = desk.table.read_text().splitlines()
    lines[-1] = lines[-1].replace("\t299296\t", "\tmany\t")
    desk.table.write_text("\n".join(lines) + "\n")
    for name, code in (("tiny-llama", 0), ("my-llama", 2)):
        study = desk.folder / f"{name}.yaml"
        study.write_text(STUDY.format(name=name))
        done = desk.offcourse("plan", "--rates", "a100", "--configfile", study)
        assert done.returncode == code, done.stderr
    assert f"line {len(lines)}, column parameters: expected a positive whole number" in done.stderr
    # Another model is added, and the faulty row keeps its name.
    assert "my-granite was added" in desk.add("models/My Granite", "--no-checks")
    assert "already" in desk.refused("models/my-llama")
