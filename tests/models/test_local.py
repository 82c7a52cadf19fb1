"""A model of source `local` that the user replaced is another model, however the user did that."""

import dataclasses
import json
import shutil

import pytest
from tiny_gguf import write_gguf

from offcourse.data.registry import Registry
from offcourse.files import sha256
from offcourse.models import fetch, local, manifest
from offcourse.models.random import write_random_model

TEXTS = ["big small hot cold new old good bad"]


@pytest.fixture(scope="module")
def registry():
    return Registry.load()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder with two models of the user's own, `one` and `two`."""
    base = tmp_path_factory.mktemp("base")
    for seed, name in enumerate(("one", "two")):
        write_random_model(base / "models" / name, "Llama", seed, TEXTS)
    return base


@pytest.fixture
def base(two, tmp_path):
    """A copy of it, with a link `current` to the first."""
    shutil.copytree(two, tmp_path, dirs_exist_ok=True)
    (tmp_path / "models/current").symlink_to("one")
    return tmp_path


class Own:
    """One `local` model below a folder: prepared as a job prepares it, and compared as a plan compares it."""

    def __init__(self, registry, base, repo, monkeypatch):
        self.registry, self.base, self.folder = registry, base, base / "prepared"
        self.model = dataclasses.replace(registry.model("tiny-llama"), source="local", repo=repo, revision="")
        monkeypatch.chdir(base)
        self.prepare()

    def prepare(self):
        fetch.prepare(self.model, self.registry, self.folder, self.base / "packages")
        assert local.another(self.model, self.folder, self.base) == []
        assert manifest.changes(self.folder) == {}

    def differs(self, *words):
        """What a plan says; preparing again mends it."""
        before = manifest.weights_digest(self.folder)
        found = "; ".join(local.another(self.model, self.folder, self.base))
        assert all(word in found for word in words), found
        self.prepare()
        return manifest.weights_digest(self.folder) != before


@pytest.fixture
def own(registry, base, monkeypatch):
    return Own(registry, base, "models/current", monkeypatch)


def test_a_link_to_the_folder_that_is_turned_to_another_model(own, base):
    (base / "models/current").unlink()
    (base / "models/current").symlink_to("two")
    assert own.differs("models/current/model.safetensors is another file now")


def test_a_link_in_the_folder_that_is_turned_to_another_file(registry, base, monkeypatch):
    shutil.move(base / "models/one/model.safetensors", base / "weights-1.safetensors")
    (base / "models/one/model.safetensors").symlink_to(base / "weights-1.safetensors")
    own = Own(registry, base, "models/one", monkeypatch)
    (base / "models/one/model.safetensors").unlink()
    (base / "models/one/model.safetensors").symlink_to(base / "models/two/model.safetensors")
    assert own.differs("models/one/model.safetensors is another file now")


@pytest.mark.parametrize("name", ["added_tokens.json", "special_tokens_map.json"])
def test_a_file_that_is_added_or_goes(own, base, name):
    (base / "models/one" / name).write_text("{}")
    own.differs(f"models/current has {name} now")
    assert name in manifest.read_manifest(own.folder)["files"]
    (base / "models/one" / name).unlink()
    assert name in manifest.changes(own.folder)
    own.differs(f"models/current has no {name} now")


def test_a_working_folder_that_was_copied_has_models_of_its_own(own, base, tmp_path_factory):
    there = tmp_path_factory.mktemp("there") / "copy"
    shutil.copytree(base, there, symlinks=True)
    # The links still lead to the old folder, whose files are the same.
    assert local.another(own.model, there / "prepared", there) == []
    shutil.copy(base / "models/two/model.safetensors", there / "models/one/model.safetensors")
    [found] = local.another(own.model, there / "prepared", there)
    assert found == "models/current/model.safetensors is another file now"
    assert local.another(own.model, own.folder, base) == []


def test_an_origin_that_is_gone_is_no_other_model(own, base):
    (base / "models/current").unlink()
    assert local.another(own.model, own.folder, base) == []


def test_a_gguf_file_that_is_replaced(registry, base, monkeypatch):
    write_gguf(base / "mine.gguf", 0)
    own = Own(registry, base, "mine.gguf", monkeypatch)
    assert json.loads((own.folder / "manifest.json").read_text())["converted"] == sha256(base / "mine.gguf")
    shutil.copy(base / "mine.gguf", base / "same.gguf")
    (base / "same.gguf").replace(base / "mine.gguf")
    assert local.another(own.model, own.folder, base) == []
    write_gguf(base / "mine.gguf", 1)
    assert own.differs("mine.gguf is another GGUF file now")


def test_a_gguf_file_that_becomes_a_folder_and_back(registry, base, monkeypatch):
    (base / "mine").mkdir()
    write_gguf(base / "mine/weights.gguf", 0)
    own = Own(registry, base, "mine", monkeypatch)
    shutil.copytree(base / "models/two", base / "mine", dirs_exist_ok=True)
    assert own.differs("mine is a model folder now, and was a GGUF file")
    (base / "mine/config.json").unlink()
    assert own.differs("mine is not known as the GGUF file that this model was made of")
