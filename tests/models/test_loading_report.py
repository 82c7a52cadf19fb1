"""Extra tensors in files of healthy models are accepted in every class; loaded weights equal the files' weights."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from offcourse.data.architectures import ARCHITECTURES
from offcourse.errors import OffcourseError
from offcourse.models.file_check import weights_equal_files
from offcourse.models.load import load

WEIGHTS = "model.safetensors"


def rewrite(folder, change):
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, metadata={"format": "pt"})


def masks(name):
    """The causal mask and the masking number, as float16 checkpoints of the class hold them."""
    triangle = torch.ones(1, 1, 2048, 2048, dtype=torch.uint8).tril()
    return {f"{name}.bias": triangle, f"{name}.masked_bias": torch.tensor(-1e9)}


def frequencies(rotated, base=10000.0):
    return (1 / base ** (torch.arange(0, rotated, 2).float() / rotated)).half()


HELD = {
    "Llama": {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": frequencies(8) for i in range(4)},
    "Mistral": {"model.layers.0.self_attn.rotary_emb.inv_freq": frequencies(8)},
    "Olmo": {"model.layers.3.self_attn.rotary_emb.inv_freq": frequencies(8)},
    "GPTJ": masks("transformer.h.2.attn"),
    "GPTNeoX": masks("gpt_neox.layers.1.attention")
    | {"gpt_neox.layers.1.attention.rotary_emb.inv_freq": frequencies(2)},
}


@pytest.mark.parametrize("name", sorted(HELD))
def test_what_healthy_files_are_known_to_hold_is_harmless(tiny, name, tmp_path):
    tiny(name).module.save_pretrained(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors | HELD[name])
    assert weights_equal_files(load(tmp_path, name, "float32"), tmp_path)["passed"]


@pytest.mark.parametrize(
    ("name", "tensors"),
    [
        ("GPTJ", {"transformer.h.2.attn.bias": torch.ones(1, 1, 4, 4)}),
        ("GPTJ", {"transformer.h.2.attn.masked_bias": torch.tensor(0.0)}),
        ("GPTNeoX", {"gpt_neox.layers.1.attention.rotary_emb.inv_freq": frequencies(2, 500.0) * 0.5}),
        ("Llama", {"model.layers.0.self_attn.rotary_emb.inv_freq": frequencies(8, 500000.0)}),
    ],
)
def test_an_extra_that_says_otherwise_than_the_class_is_refused(tiny, name, tensors, tmp_path):
    tiny(name).module.save_pretrained(tmp_path)
    rewrite(tmp_path, lambda found: found | tensors)
    with pytest.raises(OffcourseError, match=f"{next(iter(tensors))} in the files, but not equal to what the class"):
        load(tmp_path, name, "float32")


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
@pytest.mark.parametrize("size", ["50GB", "50kB"], ids=["one file", "sharded"])
def test_the_weights_of_every_class_are_those_of_its_files(tiny, name, size, tmp_path):
    tiny(name).module.save_pretrained(tmp_path, max_shard_size=size)
    for dtype in ("float32", "bfloat16"):
        model = load(tmp_path, name, dtype)
        assert weights_equal_files(model, tmp_path) == {"passed": True, "error": 0.0, "different": []}


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_a_tensor_of_every_kind_that_differs_is_named(tiny, name, tmp_path):
    """Each parameter in turn is changed after loading, in its first row: all are found, and only they."""
    tiny(name).module.save_pretrained(tmp_path)
    model = load(tmp_path, name, "float32")
    for place, parameter in model.module.named_parameters():
        loaded = parameter.detach().clone()
        with torch.no_grad():
            parameter[0] += 1
            assert weights_equal_files(model, tmp_path)["different"] == [place]
            parameter.copy_(loaded)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_random_weights_instead_of_the_files_are_seen_without_the_report(tiny, name, tmp_path):
    """The second guard alone: one tensor is taken out of the files after the model was loaded from them."""
    tiny(name).module.save_pretrained(tmp_path)
    model = load(tmp_path, name, "float32")
    gone = f"{ARCHITECTURES[name].blocks}.2.{ARCHITECTURES[name].mlp_output}.weight"
    rewrite(tmp_path, lambda tensors: {key: value for key, value in tensors.items() if key != gone})
    assert weights_equal_files(model, tmp_path)["different"] == [gone]
