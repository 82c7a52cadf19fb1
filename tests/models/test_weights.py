"""Single tensors of a prepared folder: what is damaged or does not fit is one message that names it."""

import re

import pytest
import torch

from offcourse.data.architectures import ARCHITECTURES
from offcourse.errors import OffcourseError
from offcourse.models.weights import output_projections

LLAMA = ARCHITECTURES["Llama"]


@pytest.fixture(params=["one file", "sharded"])
def folder(request, tiny, tmp_path):
    """A folder of weights, in one file or in several with an index."""
    size = "50GB" if request.param == "one file" else "50kB"
    tiny("Llama").module.save_pretrained(tmp_path, max_shard_size=size)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (request.param == "sharded")
    return tmp_path


def test_tensors_are_found_in_whichever_file_holds_them(tiny, folder):
    for layer, (weight, bias) in output_projections(folder, LLAMA, {0, 1, 2, 3}).items():
        assert torch.equal(weight, tiny("Llama").projections[layer].weight)
        assert bias is None


@pytest.mark.parametrize("kept", [-1000, 500, 4, 0], ids=["tail cut", "header cut", "length cut", "empty"])
def test_a_truncated_file_is_named(folder, kept):
    files = sorted(folder.glob("*.safetensors"))
    for path in files:
        path.write_bytes(path.read_bytes()[:kept])
    says = (
        f"{re.escape(str(folder))}: ({'|'.join(re.escape(path.name) for path in files)}) cannot be read as safetensors"
    )
    with pytest.raises(OffcourseError, match=says) as caught:
        output_projections(folder, LLAMA, {0, 1, 2, 3})
    assert f"Delete {folder} and run again: the model is prepared anew." in str(caught.value)


@pytest.mark.parametrize("left", ["", "{", '{"metadata": {}}'], ids=["empty", "cut", "without a map"])
def test_a_truncated_index_is_named(folder, left):
    index = folder / "model.safetensors.index.json"
    index.write_text(left)
    says = f"{re.escape(f'{folder}: {index.name}')} is not the index of a model's weights"
    with pytest.raises(OffcourseError, match=says):
        output_projections(folder, LLAMA, {0})


def test_a_missing_file_of_several_is_named(tiny, tmp_path):
    tiny("Llama").module.save_pretrained(tmp_path, max_shard_size="50kB")
    for path in tmp_path.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(OffcourseError, match=r"\.safetensors cannot be read as safetensors"):
        output_projections(tmp_path, LLAMA, {0})


def test_another_class_is_named(folder):
    with pytest.raises(OffcourseError, match=r"has no tensor gpt_neox\.layers\.0\.attention\.dense\.weight"):
        output_projections(folder, ARCHITECTURES["GPTNeoX"], {0})
