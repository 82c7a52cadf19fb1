"""Weights in `.bin` files: read exactly, and nothing in them is run."""

import os
import shutil
from dataclasses import replace

import pytest
import torch
from bin_files import in_bins, same_numbers
from safetensors.torch import load_file

from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.models import fetch, manifest
from offcourse.models.bins import pickled
from offcourse.models.headers import headers
from offcourse.models.load import load
from offcourse.models.local import another
from offcourse.models.pickled import rewrite

REGISTRY = Registry.load()


@pytest.fixture
def origin(healthy, tmp_path):
    shutil.copytree(healthy, tmp_path / "origin")
    return tmp_path / "origin"


def local(origin):
    return replace(REGISTRY.model("tiny-llama"), name="other", source="local", repo=str(origin))


def prepare(origin, tmp_path):
    fetch.prepare(local(origin), REGISTRY, tmp_path / "models" / "other", tmp_path / "packages")
    return tmp_path / "models" / "other"


@pytest.mark.parametrize(("parts", "zipped"), [(1, True), (3, True), (1, False)], ids=["one", "parts", "before 1.6"])
def test_a_model_in_bin_files_is_the_model(origin, healthy, tmp_path, parts, zipped):
    in_bins(origin, parts, zipped)
    before = {path.name: path.read_bytes() for path in origin.iterdir()}
    folder = prepare(origin, tmp_path)
    assert same_numbers(folder, healthy) and list(folder.glob("*.bin*")) == []
    assert load(folder, "Llama", "float32").layers == 4
    manifest.verify(folder)
    assert {path.name: path.read_bytes() for path in origin.iterdir()} == before


def test_large_models_are_written_in_parts(origin, healthy, monkeypatch):
    """So that one part is in memory at a time."""
    in_bins(origin)
    monkeypatch.setattr("offcourse.models.pickled.PART", "100KB")
    rewrite(origin, origin, "it", "")
    assert len(list(origin.glob("model-*.safetensors"))) > 3 and same_numbers(origin, healthy)
    assert headers(origin).keys() == headers(healthy).keys()


def test_one_tensor_with_two_names_is_written_once(origin, healthy):
    tensors = load_file(origin / "model.safetensors")
    tensors["twin"] = tensors["model.norm.weight"]
    torch.save(tensors, origin / "pytorch_model.bin")
    (origin / "model.safetensors").unlink()
    rewrite(origin, origin, "it", "")
    assert len(headers(origin)) == len(headers(healthy))


class Evil:
    """Pickled, it makes a file when it is opened freely."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "before 1.6"])
def test_a_pickle_that_would_run_code_is_refused_by_its_file_s_name(origin, tmp_path, zipped):
    canary = tmp_path / "canary"
    weights = load_file(origin / "model.safetensors") | {"more": Evil(canary)}
    torch.save(weights, origin / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    (origin / "model.safetensors").unlink()
    with pytest.raises(OffcourseError) as told:
        prepare(origin, tmp_path)
    assert "pytorch_model.bin was not opened: its pickle asks for posix.mkdir, which could run code" in str(told.value)
    assert not canary.exists() and not (tmp_path / "models" / "other").exists()
    # The file is what it says: opened freely, it runs.
    torch.load(origin / "pytorch_model.bin", weights_only=False)
    assert canary.exists()


def cut(origin):
    path = origin / "pytorch_model-00002-of-00002.bin"
    path.write_bytes(path.read_bytes()[:-2000])


def other_index(origin):
    index = origin / "pytorch_model.bin.index.json"
    index.write_text(index.read_text().replace("model.norm.weight", "model.norm.wait"))


def nested(origin):
    torch.save({"model": {"a": torch.ones(1)}}, origin / "pytorch_model-00001-of-00002.bin")


def without(name):
    return lambda origin: (origin / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut, r"pytorch_model-00002-of-00002\.bin cannot be read as weights .*; it may be truncated"),
        (other_index, r"index\.json does not name the tensors that its \.bin files hold"),
        (nested, r"pytorch_model-00001-of-00002\.bin holds something other than tensors by name"),
        (without("pytorch_model-00002-of-00002.bin"), r"index\.json does not name the tensors"),
        (without("pytorch_model.bin.index.json"), r"and no pytorch_model\.bin\.index\.json"),
    ],
    ids=["cut", "index", "nested", "a part is missing", "no index"],
)
def test_damaged_bin_files_are_named_and_nothing_is_left(origin, tmp_path, spoil, message):
    in_bins(origin)
    spoil(origin)
    with pytest.raises(OffcourseError, match=message):
        prepare(origin, tmp_path)
    assert [path for path in (tmp_path / "models").rglob("*") if path.is_file()] == []


def test_another_bin_file_is_noticed(origin, tmp_path):
    in_bins(origin)
    folder = prepare(origin, tmp_path)
    assert another(local(origin), folder, tmp_path) == []
    torch.save({"a": torch.ones(1)}, origin / "pytorch_model-00001-of-00002.bin")
    assert another(local(origin), folder, tmp_path) == [
        f"{origin}/pytorch_model-00001-of-00002.bin is another file now"
    ]


def test_safetensors_are_preferred():
    assert pickled(["pytorch_model.bin", "config.json", "training_args.bin"]) == ["pytorch_model.bin"]
    assert pickled(["pytorch_model.bin", "model.safetensors"]) == []
    assert pickled(["original/model.safetensors", "pytorch_model.bin"]) == ["pytorch_model.bin"]
