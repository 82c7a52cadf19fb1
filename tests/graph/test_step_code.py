"""A step's code is everything that runs in its job, whether its module imports it or is handed it."""

import pytest

from offcourse.graph.keys import STEPS
from offcourse.store.fingerprint import modules_behind, versions_behind


@pytest.mark.parametrize("name", [name for name, step in STEPS.items() if step.reads == "model"])
def test_steps_that_run_the_model_depend_on_the_engine(name):
    targets = STEPS[name].targets
    assert {"offcourse.engine.run", "offcourse.engine.unembed", "offcourse.models.load"} <= modules_behind(
        *targets
    ).keys()
    assert {"torch", "transformers"} <= versions_behind(*targets).keys()


@pytest.mark.parametrize("name", ["prompts", "function_vectors"])
def test_other_steps_do_not(name):
    assert not [module for module in modules_behind(*STEPS[name].targets) if module.startswith("offcourse.engine")]


def test_making_prompts_depends_on_the_tokenizer_and_the_splits():
    targets = STEPS["prompts"].targets
    assert {"offcourse.models.tokenizer", "offcourse.data.prompts", "offcourse.data.tasks"} <= modules_behind(
        *targets
    ).keys()
    assert {"tokenizers", "scikit-learn", "numpy"} <= versions_behind(*targets).keys()
