"""Vector files: three formats are read as they were written, and refused by name where they say too little."""

import json

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as made
from safetensors.numpy import save_file

from offcourse.errors import OffcourseError
from offcourse.vectors import files
from offcourse.vectors.facts import NAME, VectorFile, float32

ALL = {"operation": "add", "site": "residual", "positions": "all", "together": True, "model": "a/b@" + "0" * 40}
SUFFIX = {"safetensors": ".safetensors", "gguf": ".gguf", "lm-eval": ".pt"}


def vectors(layers=(1, 3), width=8, **facts) -> VectorFile:
    generator = np.random.default_rng(0)
    return VectorFile({layer: generator.standard_normal(width, np.float32) for layer in layers}, **ALL | facts)


def saved(tmp_path, kind, **more):
    path = tmp_path / f"vectors{SUFFIX[kind]}"
    files.write(path, vectors(**more), kind, hint="llama")
    return path


def steering_file(path, hook="layers.3", **changes):
    entry = {"action": "add", "steering_vector": torch.arange(4.0), "steering_coefficient": 2.5, "bias": None}
    torch.save({hook: entry | changes}, path)
    return path


def control_vector(path, tensors, architecture="controlvector"):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_uint32("controlvector.layer_count", len(tensors))
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    return path


@pytest.mark.parametrize("kind", files.FORMATS)
@settings(max_examples=15)
@given(
    numbers=made.arrays(np.float32, (2, 5), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    together=st.booleans(),
)
def test_what_is_read_is_what_was_written_bit_for_bit(tmp_path_factory, kind, numbers, together):
    path = tmp_path_factory.mktemp("vectors") / f"v{SUFFIX[kind]}"
    wrote = VectorFile(dict(zip((1, 7), numbers, strict=True)), **ALL | {"together": together}, weights="0" * 64)
    files.write(path, wrote, kind, hint="llama")
    read = files.read(path)
    assert files.format_of(path) == kind
    assert read.facts() == wrote.facts() and read.layers == [1, 7]
    assert all(read.numbers[layer].tobytes() == wrote.numbers[layer].tobytes() for layer in (1, 7))


def test_other_sites_and_positions_are_kept_in_safetensors(tmp_path):
    heads = VectorFile({0: np.ones((3, 4), np.float32)}, **ALL | {"site": "heads", "positions": "answer"})
    files.write(tmp_path / "heads.safetensors", heads)
    assert files.read(tmp_path / "heads.safetensors").facts() == heads.facts()
    for kind in ("gguf", "lm-eval"):
        with pytest.raises(OffcourseError, match="site heads, operation add and positions answer. Export them as safe"):
            files.write(tmp_path / "heads", heads, kind)


def test_a_projection_is_a_clamp_to_zero_in_the_harness(tmp_path):
    path = saved(tmp_path, "lm-eval", operation="project_out")
    entries = torch.load(path, weights_only=True)
    assert list(entries) == ["layers.1", "layers.3"]
    assert {(entry["action"], entry["steering_coefficient"], entry["bias"]) for entry in entries.values()} == {
        ("clamp", 0.0, None)
    }
    assert files.read(path).operation == "project_out"


def test_a_control_vector_of_others_is_of_the_block_that_its_tensor_names(tmp_path):
    path = control_vector(tmp_path / "v.gguf", {"direction.2": np.arange(4, dtype=np.float32)})
    found = files.read(path, {"operation": "add", "positions": "all", "model": "a/b@c"})
    assert found.layers == [2] and found.together and found.site == "residual"
    assert found.numbers[2].tolist() == [0, 1, 2, 3] and found.made == {"model_hint": "llama"}
    # What we write has the parts that llama.cpp reads.
    reader = gguf.GGUFReader(saved(tmp_path, "gguf"))
    assert reader.fields["general.architecture"].contents() == "controlvector"
    assert reader.fields["controlvector.model_hint"].contents() == "llama"
    assert reader.fields["controlvector.layer_count"].contents() == 2
    assert [(tensor.name, tensor.tensor_type.name) for tensor in reader.tensors] == [
        ("direction.1", "F32"),
        ("direction.3", "F32"),
    ]


def test_a_steering_file_of_others_is_multiplied_by_its_coefficient(tmp_path):
    path = steering_file(tmp_path / "v.pt", steering_vector=torch.tensor([1.0, 0.1], dtype=torch.bfloat16))
    found = files.read(path, {"positions": "all", "model": "a/b@c"})
    product = torch.tensor([1.0, 0.1], dtype=torch.bfloat16) * 2.5
    assert found.numbers[3].tolist() == product.float().tolist() and found.operation == "add"


@pytest.mark.parametrize(
    ("made_by", "missing", "advice"),
    [
        (
            lambda path: control_vector(path, {"direction.2": np.ones(4, np.float32)}),
            "operation and positions and model",
            "llama.cpp",
        ),
        (steering_file, "positions and model", "lm-evaluation-harness edits at all positions"),
    ],
)
def test_what_a_format_has_no_place_for_is_refused_by_name_until_it_is_given(tmp_path, made_by, missing, advice):
    path = made_by(tmp_path / "vectors")
    path = path.rename(tmp_path / ("v.pt" if path.read_bytes().startswith(b"PK") else "v.gguf"))
    with pytest.raises(OffcourseError, match=f"does not say its {missing}, so it cannot be used.*{advice}"):
        files.read(path)
    given = {"operation": "add", "positions": "all", "model": "a/b@c"}
    assert files.read(path, given).model == "a/b@c"
    with pytest.raises(OffcourseError, match="says positions 'al'; did you mean 'all'"):
        files.read(path, given | {"positions": "al"})


def test_a_fact_that_contradicts_the_file_is_refused(tmp_path):
    path = saved(tmp_path, "safetensors")
    with pytest.raises(
        OffcourseError, match="the file says that positions is all, and .* says last. Leave positions out"
    ):
        files.read(path, {"positions": "last"})


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("v.csv", b"loader,action\n", "has no vectors in it"),
        ("v.bin", b"something else", "is no vector file"),
        ("v.gguf", b"GGUF\x03\x00\x00\x00cut", "cannot be read as GGUF"),
        ("v.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{cut", "cannot be read as safetensors"),
        ("v.pt", b"PK\x03\x04cut", "cannot be read as tensors and plain values"),
    ],
)
def test_a_file_that_is_damaged_or_of_another_kind_is_one_message(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(OffcourseError, match=said) as refused:
        files.read(tmp_path / name)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(OffcourseError, match="there is no file .*gone.gguf"):
        files.read(tmp_path / "gone.gguf")


def test_safetensors_without_our_metadata_are_refused_with_what_is_missing(tmp_path):
    save_file({"layer.1": np.ones(4, np.float32)}, tmp_path / "v.safetensors")
    with pytest.raises(OffcourseError, match=f"has no metadata {NAME}, which says its operation, site, positions"):
        files.read(tmp_path / "v.safetensors")
    facts = json.loads(vectors().facts()) | {"positions": None, "model": None}
    numbers = {f"layer.{layer}": tensor for layer, tensor in vectors().numbers.items()}
    save_file(numbers, tmp_path / "v.safetensors", metadata={NAME: json.dumps(facts)})
    with pytest.raises(OffcourseError, match="does not say its positions and model"):
        files.read(tmp_path / "v.safetensors")


@pytest.mark.parametrize("kind", files.FORMATS)
def test_numbers_that_were_changed_after_the_facts_were_written_are_refused(tmp_path, kind):
    path = saved(tmp_path, kind)
    whole, number = path.read_bytes(), vectors().numbers[3].tobytes()
    assert whole.count(number) == 1
    path.write_bytes(whole.replace(number, np.zeros(8, np.float32).tobytes()))
    # torch's archive has a checksum of its own.
    with pytest.raises(OffcourseError, match="are not those that its|cannot be read as tensors"):
        files.read(path)


def test_a_number_that_is_not_finite_is_refused_with_its_block(tmp_path):
    numbers = {2: np.array([1.0, np.nan], np.float32)}
    path = control_vector(tmp_path / "v.gguf", {"direction.2": numbers[2]})
    with pytest.raises(OffcourseError, match="the vector of block 2 has a number that is not finite"):
        files.read(path)
    with pytest.raises(OffcourseError, match="the vector of block 2 has a number that is not finite"):
        files.write(tmp_path / "w.safetensors", VectorFile(numbers, **ALL))
    assert not (tmp_path / "w.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"action": "clamp"}, "the action 'clamp' with coefficient 2.5, which is none of our operations"),
        ({"action": "clamp", "steering_coefficient": 0, "bias": torch.ones(4)}, "which is none of our operations"),
        ({"steering_vector": torch.ones(2, 2)}, "needs a dense vector of one dimension"),
        ({"steering_vector": torch.ones(4).to_sparse()}, "needs a dense vector of one dimension"),
        ({"steering_vector": torch.ones(4, device="meta")}, "needs a dense vector of one dimension"),
        ({"steering_coefficient": 10**400}, "a number of up to 3.40282e.38 as coefficient"),
        ({"steering_coefficient": float("nan")}, "a number of up to"),
        ({"hook": "layers.3.mlp"}, "the hook point layers.3.mlp is not the output of a block"),
        ({"steering_vector": torch.arange(4)}, "holds int64"),
    ],
)
def test_an_edit_of_the_harness_that_we_do_not_have_is_refused(tmp_path, change, said):
    if "steering_vector" in change and change["steering_vector"].dtype == torch.int64:
        change = change | {"steering_coefficient": 2}
    with pytest.raises(OffcourseError, match=said):
        files.read(steering_file(tmp_path / "v.pt", **change), {"positions": "all", "model": "m"})


class Touch:
    """An object that makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_file_that_would_run_code_is_not_run(tmp_path):
    torch.save({"layers.3": {"action": Touch(tmp_path / "ran")}}, tmp_path / "v.pt")
    with pytest.raises(OffcourseError, match="other Python objects are not run"):
        files.read(tmp_path / "v.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"direction.0": np.ones(4, np.float32)}, "'direction.0' is no direction of a block from 1 on"),
        ({"blk.1.weight": np.ones(4, np.float32)}, "'blk.1.weight' is no direction"),
        ({"direction.1": np.ones(4, np.float16)}, "has F16 numbers"),
        ({"direction.1": np.ones((2, 4), np.float32)}, "in 2 dimensions"),
        ({"direction.01": np.ones(4, np.float32)}, "'direction.01' is no direction"),
        ({"direction.\u0662": np.ones(4, np.float32)}, "'direction.\u0662' is no direction"),
    ],
)
def test_a_control_vector_that_llama_cpp_refuses_is_refused(tmp_path, tensors, said):
    with pytest.raises(OffcourseError, match=said):
        files.read(control_vector(tmp_path / "v.gguf", tensors))


def test_two_vectors_of_one_block_are_refused(tmp_path):
    entry = {"action": "add", "steering_vector": torch.ones(4), "steering_coefficient": 1.0, "bias": None}
    torch.save({"layers.5": entry, "model.layers.5": entry}, tmp_path / "v.pt")
    with pytest.raises(OffcourseError, match=r"two hook points of block 5, model\.layers\.5 is the second"):
        files.read(tmp_path / "v.pt", {"positions": "all", "model": "m"})


@pytest.mark.parametrize("name", ["layer.03", "layer.\u00b2", "layer.\u0662", "layer.-1"])
def test_a_second_name_of_a_block_is_refused(tmp_path, name):
    numbers = {f"layer.{layer}": tensor for layer, tensor in vectors().numbers.items()}
    save_file(numbers | {name: np.ones(8, np.float32)}, tmp_path / "v", metadata={NAME: vectors().facts()})
    with pytest.raises(OffcourseError, match=f"has tensors that are not called layer.N: {name}"):
        files.read(tmp_path / "v")


def test_facts_of_how_vectors_were_made_are_an_object(tmp_path):
    facts = json.loads(vectors().facts()) | {"made": "by hand"}
    numbers = {f"layer.{layer}": tensor for layer, tensor in vectors().numbers.items()}
    save_file(numbers, tmp_path / "v", metadata={NAME: json.dumps(facts)})
    with pytest.raises(OffcourseError, match="the file says made 'by hand', and expected is an object"):
        files.read(tmp_path / "v")


@pytest.mark.parametrize("verb", ["read", "write"])
def test_a_folder_is_no_file(tmp_path, verb):
    with pytest.raises(OffcourseError, match=f"{tmp_path} is a folder"):
        files.read(tmp_path) if verb == "read" else files.write(tmp_path, vectors())


@pytest.mark.parametrize(("kind", "operation"), [("gguf", "scale"), ("lm-eval", "add_keeping_norm")])
def test_advice_about_positions_is_given_only_where_they_are_the_reason(tmp_path, kind, operation):
    with pytest.raises(OffcourseError, match="Export them as safetensors, or at other positions"):
        saved(tmp_path, kind, positions="last")
    with pytest.raises(OffcourseError, match=r"Export them as safetensors\.$"):
        saved(tmp_path, kind, operation=operation)


def test_a_model_in_gguf_is_no_control_vector(tmp_path):
    with pytest.raises(OffcourseError, match="of architecture 'llama', and a control vector's is 'controlvector'"):
        files.read(control_vector(tmp_path / "v.gguf", {"direction.1": np.ones(4, np.float32)}, "llama"))


def test_block_0_cannot_be_written_as_a_control_vector(tmp_path):
    with pytest.raises(OffcourseError, match="has no direction for block 0.*--layers"):
        saved(tmp_path, "gguf", layers=(0, 1))


def test_numbers_that_float32_does_not_hold_are_refused(tmp_path):
    with pytest.raises(OffcourseError, match="float32 does not hold all of its numbers"):
        float32(np.array([0.1]), tmp_path, "layer.1")
    assert float32(np.array([0.5]), tmp_path, "layer.1").dtype == np.float32
