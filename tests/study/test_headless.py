"""Models whose class has blocks without attention heads: which methods a study may ask of them."""

import re

import pytest
from plain_models import registry_with

from offcourse.errors import OffcourseError
from offcourse.study.check import check_study
from offcourse.study.config import load_study

REGISTRY = registry_with("Mamba", "Jamba", "Falcon")
STUDY = {"study": "headless", "models": ["tiny-mamba"], "tasks": ["antonym"], "function_vectors": {"n_heads": [2]}}


def refused(study: dict) -> str:
    with pytest.raises(OffcourseError) as error:
        check_study(load_study(study), REGISTRY)
    return str(error.value)


@pytest.mark.parametrize("name", ["Mamba", "Jamba"])
def test_function_vectors_of_a_class_without_heads_are_refused_and_the_advice_works(name):
    model = f"tiny-{name.lower()}"
    study = STUDY | {"models": ["tiny-falcon", model], "methods": ["function_vectors", "task_vectors"]}
    said = refused(study)
    assert f"{model} is a {name}ForCausalLM, which has blocks without attention heads" in said
    advice = re.search(r"Set function_vectors: \{models: \[(.*)\]\}", said)[1]
    section = study["function_vectors"] | {"models": advice.split(", ")}
    check_study(load_study(study | {"function_vectors": section}), REGISTRY)


def test_a_study_of_such_a_model_alone_is_told_to_leave_the_method_out():
    study = STUDY | {"methods": ["function_vectors", "task_vectors", "dola", "logit_lens"]}
    assert "Take function_vectors out of methods" in refused(study)
    check_study(load_study(study | {"methods": ["task_vectors", "dola", "logit_lens"]}), REGISTRY)


def test_a_steering_method_needs_no_heads_but_another_model_s_function_vectors():
    alone = STUDY | {"methods": ["caa"]}
    assert "a model whose class has attention heads" in refused(alone)
    both = STUDY | {"models": ["tiny-mamba", "tiny-falcon"], "methods": ["function_vectors", "caa"]}
    check_study(load_study(both | {"function_vectors": {"models": ["tiny-falcon"], "n_heads": [2]}}), REGISTRY)
    # A model with heads still needs its function vectors.
    three = both | {"models": ["tiny-mamba", "tiny-falcon", "tiny-llama"]}
    section = {"function_vectors": {"models": ["tiny-falcon"], "n_heads": [2]}}
    assert "tiny-llama is not among function_vectors.models" in refused(three | section)


def test_a_method_that_edits_heads_is_refused_and_the_advice_works():
    both = STUDY | {
        "models": ["tiny-mamba", "tiny-falcon"],
        "methods": ["function_vectors", "inference_time_intervention"],
        "function_vectors": {"models": ["tiny-falcon"], "n_heads": [2]},
    }
    said = refused(both)
    assert "inference_time_intervention.models: tiny-mamba is of a class with blocks without attention heads" in said
    check_study(load_study(both | {"inference_time_intervention": {"models": ["tiny-falcon"]}}), REGISTRY)
