"""A vector file on a tiny random model: what a file says is what the steps do, and what does not fit is one message."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.files import sha256
from offcourse.graph.keys import STEPS, key_parts
from offcourse.judge.export import export, vectors_of
from offcourse.layout import Layout
from offcourse.models.fetch import prepare
from offcourse.run.job import run_step
from offcourse.schemas.function_vectors import STEERING_SWEEP
from offcourse.schemas.io import read_parquet
from offcourse.steering import steering
from offcourse.study.check import check_study
from offcourse.study.config import load_study
from offcourse.vectors import files
from offcourse.vectors.facts import VectorFile

TASK, METHOD = "antonym", "mean_difference"
STUDY = {
    "study": "one",
    "models": ["tiny-llama"],
    "tasks": [TASK],
    "methods": ["function_vectors", METHOD],
    "function_vectors": {"shots": 2, "trials": 2, "n_heads": [2], "strengths": [1], "test_items": 3},
    METHOD: {"pairs": 4, "shots": 2, "strengths": [1, 20]},
}
REGISTRY = Registry.load()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(the layout of a finished sweep of `METHOD`, its study)."""
    layout, study = Layout("one", tmp_path_factory.mktemp("made")), load_study(STUDY)
    row = REGISTRY.model("tiny-llama")
    prepare(row, REGISTRY, layout.model_folder(row.name), layout.downloads)
    for step in ("prompts", METHOD, f"{METHOD}_sweep"):
        run_step(step, study, REGISTRY, layout, row.name, threads=1)
    return layout, study


def with_file(path, **section):
    """The study that uses a file."""
    changes = {"methods": ["function_vectors", "vector_file"]}
    given = {"file": str(path), "sha256": sha256(path), "strengths": [1, 20]} | section
    return load_study({key: value for key, value in STUDY.items() if key != METHOD} | changes | {"vector_file": given})


def written(path, numbers, **facts):
    said = {"operation": "add", "site": "residual", "positions": "all", "together": False}
    files.write(path, VectorFile(numbers, **said | {"model": REGISTRY.model("tiny-llama").identity} | facts))
    return path


@pytest.mark.parametrize(("kind", "layers"), [("safetensors", None), ("gguf", [1, 3]), ("lm-eval", [0, 2])])
def test_an_exported_file_steers_as_the_method_that_it_was_exported_from(made, tmp_path, kind, layers):
    layout, study = made
    vectors = vectors_of(study, REGISTRY, layout, METHOD, "tiny-llama", TASK, layers)
    export(tmp_path / "vectors", vectors, kind, REGISTRY, layout, "tiny-llama")
    used = with_file(tmp_path / "vectors")
    check_study(used, REGISTRY)
    for step in ("vector_file", "vector_file_sweep"):
        run_step(step, used, REGISTRY, layout, "tiny-llama", threads=1)
    own, other = (load_file(layout.artefact(name, ".safetensors", "tiny-llama", TASK))["vectors"]
                  for name in (METHOD, "vector_file"))  # fmt: skip
    layers = layers or [0, 1, 2, 3]
    assert torch.equal(other[layers], own[layers])
    before, after = (read_parquet(layout.artefact(f"{name}_sweep", ".parquet", "tiny-llama", TASK), STEERING_SWEEP)
                     for name in (METHOD, "vector_file"))  # fmt: skip
    before = before[before["layer"].isin(layers)].reset_index(drop=True)
    assert len(after) == 2 * 3 * len(layers) and after.equals(before)


@pytest.mark.parametrize(
    ("sets", "layers", "exported"),
    [
        ([(0, 1), (2, 3)], [2, 3], [2, 3]),
        ([(1, 3)], None, [1, 3]),
        ([(2,)], None, [2]),
        ([(0,), (1, 2)], [0], [0]),
        ([(0,), (1, 2)], [1], None),
        ([(0, 1), (2, 3)], None, None),
        ([(2,)], [1], None),
    ],
)
def test_a_file_has_the_blocks_of_one_edit_of_the_method(made, monkeypatch, sets, layers, exported):
    layout, study = made
    monkeypatch.setattr(type(steering(METHOD)), "layer_sets", lambda self, count: sets)
    asked = (study, REGISTRY, layout, METHOD, "tiny-llama", TASK, layers)
    if exported is None:
        with pytest.raises(OffcourseError, match="the blocks of one edit|uses no vector of block 1"):
            vectors_of(*asked)
        return
    found = vectors_of(*asked)
    assert found.layers == exported and found.together


def test_the_key_holds_the_digest_of_the_file_and_not_its_path(made, tmp_path):
    layout, _ = made
    numbers = {1: np.ones(32, np.float32)}
    paths = [written(tmp_path / name, numbers) for name in ("a.safetensors", "b.safetensors")]
    paths.append(written(tmp_path / "c.safetensors", {1: np.full(32, 2, np.float32)}))
    keys = [key_parts(STEPS["vector_file"], with_file(path), REGISTRY, layout, "tiny-llama", TASK) for path in paths]
    assert keys[0] == keys[1] != keys[2]
    assert keys[0]["parameters"]["sha256"] == sha256(paths[0]) and str(tmp_path) not in str(keys[0])


def test_all_blocks_together_are_one_edit(tmp_path):
    path = written(tmp_path / "v.safetensors", {1: np.ones(32, np.float32), 3: np.ones(32, np.float32)}, together=True)
    method = steering("vector_file").configured(with_file(path).vector_file)
    assert method.layer_sets(4) == [(1, 3)] and (method.operation, method.positions) == ("add", "all")


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            {"sha256": ""},
            "has the sha256 [0-9a-f]{64}, which the study does not say. If .* write `sha256: [0-9a-f]{64}`",
        ),
        ({"sha256": "0" * 64}, "has the sha256 [0-9a-f]{64}, and not 0000"),
        ({"file": ""}, "vector_file.file: the path of a vector file is missing"),
        ({"file": "gone.gguf"}, "there is no file gone.gguf"),
        ({"operation": "replace"}, "the file says that operation is add, and .* says replace"),
        ({"controls": ["wrong_task"]}, "wrong_task cannot be had: vector_file has the same vectors for every task"),
        ({"draws": 2}, "draws cannot be had: vector_file draws no pairs"),
    ],
)
def test_a_section_that_does_not_fit_its_file_is_one_message(tmp_path, section, said):
    path = written(tmp_path / "v.safetensors", {1: np.ones(32, np.float32)})
    with pytest.raises(OffcourseError, match=said) as refused:
        check_study(with_file(path, **section), REGISTRY)
    assert "\n" not in str(refused.value)


def test_a_file_of_another_model_is_refused_by_the_step(made, tmp_path):
    layout, _ = made
    path = written(tmp_path / "v.safetensors", {1: np.ones(32, np.float32)}, model="someone/else@" + "0" * 40)
    with pytest.raises(OffcourseError, match="is for someone/else@0+, and tiny-llama is random Llama, seed 0"):
        run_step("vector_file", with_file(path), REGISTRY, layout, "tiny-llama", threads=1)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({1: np.ones(33, np.float32)}, r"has the shape \[33\], and the model takes \[32\]"),
        ({4: np.ones(32, np.float32)}, "has a vector for block 4, and the model has blocks 0 to 3"),
    ],
)
def test_vectors_that_do_not_fit_are_refused_by_the_step(made, tmp_path, numbers, said):
    layout, _ = made
    path = written(tmp_path / "v.safetensors", numbers)
    with pytest.raises(OffcourseError, match=said):
        run_step("vector_file", with_file(path), REGISTRY, layout, "tiny-llama", threads=1)


def test_a_vector_that_is_not_there_is_not_exported(made):
    layout, study = made
    for words, said in (
        (("caa", "tiny-llama", TASK), "does not have caa"),
        ((METHOD, "tiny-lama", TASK), "did you mean 'tiny-llama'"),
        (("mean_differenc", "tiny-llama", TASK), "did you mean 'mean_difference'"),
        ((METHOD, "tiny-llama", TASK, [7]), "uses no vector of block 7 in .*: it uses those of 0, 1, 2"),
    ):
        with pytest.raises(OffcourseError, match=said):
            vectors_of(study, REGISTRY, layout, *words)
    elsewhere = dataclasses.replace(layout, study="other")
    with pytest.raises(OffcourseError, match="is not there yet. Run the study"):
        vectors_of(study, REGISTRY, elsewhere, METHOD, "tiny-llama", TASK)
