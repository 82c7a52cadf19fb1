"""What `offcourse judge` asks: the study behind a verdict, and subjects that are refused in one message."""

import numpy as np
import pytest
import torch

from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.judge.asked import METHODS, Asked, asked
from offcourse.study.config import read_study
from offcourse.vectors import files
from offcourse.vectors.facts import VectorFile

REGISTRY = Registry.load()
TINY = REGISTRY.model("tiny-llama")


def vector_file(path, layers=(1, 2), width=32, kind="safetensors", **facts):
    said = {"operation": "add", "site": "residual", "positions": "all", "together": True, "model": TINY.identity}
    numbers = {layer: np.linspace(-1, 1, width, dtype=np.float32) * (layer + 1) for layer in layers}
    files.write(path, VectorFile(numbers, **said | facts), kind, hint="llama")
    return path


def steered(path, width=32):
    entry = {"action": "add", "steering_vector": torch.ones(width), "steering_coefficient": 1.0, "bias": None}
    torch.save({"layers.1": entry}, path)
    return path


def of(subject, models=("tiny-llama",), tasks=("present-past", "country-capital"), **given):
    return asked(str(subject), models, tasks, given, REGISTRY)


def test_every_method_has_a_study_that_is_valid():
    assert "caa" in METHODS and not {"prompting", "vector_file"} & set(METHODS)
    for method in METHODS:
        found = of(method)
        found.check(REGISTRY)
        assert found.study()["methods"] == ["function_vectors", method, "prompting"]
        assert found.study()["function_vectors"]["test_items"] == 40


def test_only_what_is_a_control_of_a_method_is_asked():
    assert of("caa").study()["caa"]["controls"] == ["random_direction", "sign_flipped", "shuffled_labels", "wrong_task"]
    assert "wrong_task" not in of("caa", tasks=["antonym"]).study()["caa"]["controls"]
    assert of("activation_addition").study()["activation_addition"]["controls"] == [
        "random_direction",
        "sign_flipped",
        "wrong_task",
    ]
    assert "draws" not in of("activation_addition").study()["activation_addition"]


def test_a_method_that_changes_the_prompt_is_judged_without_controls():
    found = Asked("prompting", ["tiny-llama"], ["present-past", "country-capital"])
    found.check(REGISTRY)
    assert found.study()["prompting"].keys() == {"strengths", "passages"} and found.controls() == []


def test_another_question_is_another_study():
    names = {
        of("caa").study()["study"],
        of("caa", tasks=["antonym"]).study()["study"],
        of("mean_difference").study()["study"],
    }
    assert len(names) == 3 and of("caa").study() == of("caa").study()


@pytest.mark.parametrize("kind", files.FORMATS)
def test_a_vector_file_is_kept_beside_its_study_and_named_by_its_digest(tmp_path, kind):
    path = vector_file(tmp_path / "Honesty (v2)", kind=kind)
    found = of(path)
    found.check(REGISTRY)
    study = read_study(found.write(tmp_path))
    assert study.study.startswith("judge-honesty")
    kept = tmp_path / study.vector_file.file
    assert kept.read_bytes() == path.read_bytes() and study.vector_file.sha256 in kept.name
    assert study.vector_file.controls == ["random_direction", "sign_flipped"]
    assert str(tmp_path) not in (tmp_path / "results/judged" / study.study / "study.yaml").read_text()


def test_what_a_format_cannot_say_is_asked_for_and_taken(tmp_path):
    path = steered(tmp_path / "v.pt")
    with pytest.raises(OffcourseError, match="does not say its positions, .*--positions"):
        of(path).check(REGISTRY)
    found = of(path, positions="all", together=False)
    found.check(REGISTRY)
    section = found.study()["vector_file"]
    assert (section["positions"], section["together"], section["model"]) == ("all", False, TINY.identity)


@pytest.mark.parametrize(
    ("subject", "models", "said"),
    [
        ("cab", [], r"'cab' is neither a method nor a file .*: did you mean 'caa'\?$"),
        ("CAA", [], r"did you mean 'caa'\?$"),
        ("gone.gguf", ["tiny-llama"], "there is no file gone.gguf"),
        ("prompting", [], "prompting is the baseline"),
        ("caa", ["tiny-lama"], "did you mean 'tiny-llama'"),
    ],
)
def test_a_subject_or_model_that_there_is_not_is_one_message(subject, models, said):
    with pytest.raises(OffcourseError, match=said) as refused:
        of(subject, models or ["tiny-llama"]).check(REGISTRY)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"width": 33}, r"the vector of block 1 .* has the shape \[33\], and the model takes \[32\]"),
        ({"layers": (1, 4)}, "has a vector for block 4, and the model has blocks 0 to 3"),
        ({"positions": "first"}, r"the model takes \[tokens, 32\]"),
    ],
)
def test_vectors_that_do_not_fit_the_model_are_refused_before_anything_runs(tmp_path, facts, said):
    with pytest.raises(OffcourseError, match=said):
        of(vector_file(tmp_path / "v.safetensors", **facts)).check(REGISTRY)
    assert [path.name for path in tmp_path.iterdir()] == ["v.safetensors"]


def test_a_file_is_for_one_model(tmp_path):
    path = vector_file(tmp_path / "v.safetensors")
    for models in ([], ["tiny-llama", "tiny-gptneox"]):
        with pytest.raises(OffcourseError, match="a vector file is for one model"):
            of(path, models)


def test_facts_of_a_file_do_not_belong_to_a_method():
    with pytest.raises(OffcourseError, match="operation belongs to a vector file, and caa is a method"):
        of("caa", operation="add")
