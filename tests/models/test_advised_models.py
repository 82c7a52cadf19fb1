"""What a message about a model's folder advises is done literally, and the model is then prepared and loaded."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from offcourse.data.endpoint import require_endpoint
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.models.fetch import prepare
from offcourse.models.load import load
from offcourse.models.random import random_model

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


class Own:
    """A user's own model folder, which is prepared as a `local` model and loaded."""

    def __init__(self, folder: Path, below: Path):
        self.folder, self.below, self.architecture = folder, below, "Llama"

    def use(self) -> None:
        registry = Registry.load()
        own = dataclasses.replace(
            registry.model("tiny-llama"),
            name="own",
            source="local",
            repo=str(self.folder),
            architecture=self.architecture,
        )
        prepare(own, registry, self.below / "models" / "own", self.below / "packages")
        load(self.below / "models" / "own", own.architecture, "float32")

    def refused(self, says: str) -> re.Match:
        with pytest.raises(OffcourseError) as caught:
            self.use()
        found = re.search(says, str(caught.value))
        assert found, caught.value
        return found

    def config(self, **entries) -> None:
        """Change entries of config.json; `None` takes one out."""
        path = self.folder / "config.json"
        found = json.loads(path.read_text()) | entries
        path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))


@pytest.fixture
def own(healthy, tmp_path):
    return Own(Path(shutil.copytree(healthy, tmp_path / "own")), tmp_path)


def test_an_entry_is_corrected_where_the_model_comes_from(own):
    """In the prepared folder, where the message is about, it would be undone."""
    own.config(rope_parameters={"rope_type": "spiral", "rope_theta": 10000.0})
    said = own.refused(r"transformers knows (\w+), .*Correct the model's own files.*in the folder that `repo` of")
    own.config(rope_parameters={"rope_type": said[1], "rope_theta": 10000.0})
    own.use()


@pytest.mark.parametrize("removed", [WEIGHTS, INDEX])
def test_either_of_two_sets_of_weights_may_be_removed(own, removed):
    half = "model-00001-of-00001.safetensors"
    shutil.copyfile(own.folder / WEIGHTS, own.folder / half)
    names = dict.fromkeys(load_file(own.folder / WEIGHTS), half)
    (own.folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}))
    own.refused(rf"has {WEIGHTS} and beside it {INDEX}, .* Remove one of the two")
    (own.folder / removed).unlink()
    if removed == INDEX:
        (own.folder / half).unlink()
    own.use()


def test_weights_under_another_name_are_renamed(own):
    (own.folder / WEIGHTS).rename(own.folder / "other.safetensors")
    own.config(transformers_weights="other.safetensors")
    shutil.copyfile(own.folder / "other.safetensors", own.folder / WEIGHTS)
    name, entry = own.refused(r"\((\w+)\)\. Name the file (\S+) and remove that entry").group(2, 1)
    (own.folder / WEIGHTS).unlink()
    (own.folder / "other.safetensors").rename(own.folder / name)
    own.config(**{entry: None})
    own.use()


def test_the_class_that_a_message_expects_is_taken(own):
    own.config(architectures=None)
    own.config(architectures=json.loads(own.refused(r"expected (\[.*?\])")[1]))
    own.use()


def test_another_class_of_the_registry_is_corrected(own):
    own.architecture = "Qwen2"
    held = own.refused(r"holds (\w+)ForCausalLM, .* Correct the `architecture` column")[1]
    own.architecture = held
    own.use()


@pytest.mark.parametrize("name", ["lost.txt", "folder.txt"])
def test_a_file_that_is_none_is_removed(own, name):
    if name == "lost.txt":
        (own.folder / name).symlink_to(own.folder / "nowhere")
    else:
        (own.folder / name).mkdir()
    path = own.refused(r"own: (\S+) is .*[Rr]emove it")[1]
    Path(path).unlink() if Path(path).is_symlink() else Path(path).rmdir()
    own.use()


def test_weights_in_files_of_another_name_are_saved_anew(own, healthy):
    torch.save(load_file(own.folder / WEIGHTS), own.folder / "weights.pt")
    (own.folder / WEIGHTS).unlink()
    own.refused("open the model with transformers, save_pretrained it into another folder, and use that folder")
    # Whoever has such a file knows how to open it; transformers looks for this name.
    (own.folder / "weights.pt").rename(own.folder / "pytorch_model.bin")
    other = own.below / "other"
    AutoModelForCausalLM.from_pretrained(own.folder).save_pretrained(other)
    for path in own.folder.glob("tokenizer*"):
        shutil.copyfile(path, other / path.name)
    own.folder = other
    own.use()


def test_a_wrapped_model_is_saved_itself(own):
    tensors = load_file(own.folder / WEIGHTS)
    save_file({f"_orig_mod.{name}": value for name, value in tensors.items()}, own.folder / WEIGHTS, {"format": "pt"})
    said = own.refused(
        r"names of its tensors begin with '(\S+)' .* Save the model itself, .*`model\._orig_mod\.save_pretrained`"
    )
    assert said[1] == "_orig_mod."
    wrapped = torch.nn.Module()
    wrapped._orig_mod = random_model("Llama", 0)
    wrapped._orig_mod.save_pretrained(own.folder)
    own.use()


def test_a_folder_that_is_none_is_corrected(own):
    good, own.folder = own.folder, own.below / "nothing"
    own.refused("Correct `repo` in resources/models.tsv")
    own.folder = good
    own.use()


def test_a_message_about_damaged_weights_names_the_user_s_model_and_no_scratch_folder(own):
    (own.folder / WEIGHTS).write_bytes((own.folder / WEIGHTS).read_bytes()[:100])
    said = own.refused(r"own \((\S+)\): (\S+) cannot be read as safetensors .* Use an undamaged copy of the model")
    assert Path(said[1]) == own.folder and ".part" not in said.string
    random_model("Llama", 0).save_pretrained(own.folder)
    own.use()


def test_a_password_in_the_hub_s_address_is_written_as_the_message_says(monkeypatch):
    password = "p/a:s#s@[w]?"
    monkeypatch.setenv("HF_ENDPOINT", f"https://me:{password}@[hub.example.org")
    with pytest.raises(OffcourseError) as caught:
        require_endpoint()
    signs, codes = re.search(r"write (.*) as (.*); or unset", str(caught.value)).groups()
    codes = dict(zip(signs.split(), codes.split(), strict=True))
    written = "".join(codes.get(sign, sign) for sign in password)
    monkeypatch.setenv("HF_ENDPOINT", f"https://me:{written}@hub.example.org")
    require_endpoint()
    monkeypatch.delenv("HF_ENDPOINT")
    require_endpoint()
