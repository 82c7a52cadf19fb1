"""A method's own section: its models and tasks, grids for models by size, and grids against a model's heads."""

import pytest

from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.study.check import check_study
from offcourse.study.config import load_study

LEAST = {"study": "mine", "models": ["tiny-llama"], "tasks": ["antonym"]}
SCOPED = {
    "study": "mine",
    "models": ["smollm2-135m-instruct", "gemma-3-270m", "tiny-llama"],
    "tasks": ["antonym", "english-german", "english-italian"],
    "methods": ["function_vectors", "task_vectors", "dola"],
    "function_vectors": {"tasks": ["english-german", "antonym"]},
    "task_vectors": {"models": ["tiny-llama", "smollm2-135m-instruct"], "tasks": ["antonym", "english-italian"]},
    "dola": {"models": ["gemma-3-270m"], "dtype": "float16"},
    "numerics": {"dtype": "float32"},
}


def test_a_method_runs_on_its_own_models_and_tasks_in_the_study_s_order():
    study = load_study(SCOPED)
    assert study.models_of("function_vectors") == study.models
    assert study.models_of("task_vectors") == ["smollm2-135m-instruct", "tiny-llama"]
    assert study.models_of("dola", "task_vectors") == study.models
    assert study.tasks_of("function_vectors") == ["antonym", "english-german"]
    assert study.tasks_of("function_vectors", "task_vectors") == study.tasks
    assert study.models_of("logit_lens") == []
    assert (study.dtype_of("dola"), study.dtype_of("task_vectors")) == ("float16", "float32")


def test_a_method_takes_only_models_and_tasks_of_the_study():
    registry = Registry.load()
    for method, key, name, message in (
        (
            "task_vectors",
            "models",
            "tiny-lama",
            "'tiny-lama' is not one of the study's models; did you mean 'tiny-llama'",
        ),
        ("task_vectors", "tasks", "french-english", "'french-english' is not one of the study's tasks"),
        ("dola", "models", "pythia-6.9b", "dola.models: 'pythia-6.9b' is not one of the study's models; known: gemma"),
    ):
        with pytest.raises(OffcourseError, match=message):
            check_study(load_study(SCOPED | {method: {key: [name]}}), registry)


def test_only_the_lists_that_a_method_reads_must_exist():
    """The authors have no list of the German tasks for task vectors, and none of the Italian ones for the others."""
    registry = Registry.load()
    check_study(load_study(SCOPED | {"data": "release"}), registry)
    with pytest.raises(OffcourseError, match="no word list for task vectors of task english-german"):
        check_study(load_study(SCOPED | {"data": "release", "task_vectors": {}}), registry)


def test_large_models_may_have_a_grid_of_their_own():
    large = {"n_heads": [2, 64], "strengths": [1, 4]}
    study = load_study(LEAST | {"function_vectors": {"large": large, "trials": 7}})
    grids = {size: study.sized(size).function_vectors for size in (7_000_000_000, 27_227_128_320, 68_976_648_192, None)}
    assert [grid.n_heads for grid in grids.values()] == [[2, 16, 64], [2, 16, 64], [2, 64], [2, 16, 64]]
    assert grids[68_976_648_192].strengths == [1.0, 4.0] and grids[68_976_648_192].trials == 7
    assert load_study(LEAST).sized(68_976_648_192) == load_study(LEAST)


def test_a_grid_is_held_against_the_models_that_it_is_for():
    """The tiny model has 16 heads: too few for the grid, unless it is another model's."""
    registry, grid = Registry.load(), {"n_heads": [32], "models": ["smollm2-135m-instruct"]}
    study = LEAST | {"models": ["tiny-llama", "smollm2-135m-instruct"], "methods": ["function_vectors", "dola"]}
    check_study(load_study(study | {"function_vectors": grid}), registry)
    with pytest.raises(OffcourseError, match="tiny-llama has 16 heads"):
        check_study(load_study(study | {"function_vectors": grid | {"models": None}}), registry)


def test_a_model_that_is_not_pinned_is_refused_after_every_other_mistake():
    registry = Registry.load(locked=False)
    study = LEAST | {"models": ["tiny-llama", "llama-7b", "llama-2-7b"]}
    with pytest.raises(OffcourseError, match="2 of the study's models are not pinned .*: llama-7b, llama-2-7b"):
        check_study(load_study(study), registry)
    with pytest.raises(OffcourseError, match="no task 'antonyn'"):
        check_study(load_study(study | {"tasks": ["antonyn"]}), registry)


def test_a_grid_that_no_head_count_of_a_model_reaches_is_refused_before_anything_runs():
    registry, grid = Registry.load(), {"n_heads": [512, 17]}
    study = load_study({**LEAST, "models": ["gemma-3-270m", "tiny-llama"], "function_vectors": grid})
    says = (
        r"n_heads: tiny-llama has 16 heads \(4 layers of 4\), fewer than every number in the grid \(17, 512\)\. Add a "
    )
    with pytest.raises(OffcourseError, match=says):
        check_study(study, registry)
    # One number that fits is enough, and other methods do not ask for heads.
    check_study(load_study({**LEAST, "function_vectors": {"n_heads": [512, 16]}}), registry)
    check_study(load_study({**LEAST, "function_vectors": grid, "methods": ["dola"]}), registry)
