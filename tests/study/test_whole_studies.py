"""The two studies of the paper's scale: its models, tasks and grids."""

from dataclasses import replace

import pytest
from registry_rows import of_the_paper

from offcourse.data.names import METHODS, RESOURCES
from offcourse.data.registry import Registry
from offcourse.study.check import check_study
from offcourse.study.config import read_study
from offcourse.study.protocol import Protocol

ROOT = RESOURCES.parent


@pytest.fixture(scope="module")
def pinned() -> Registry:
    """The registry as if every hub model had been pinned."""
    registry = Registry.load(locked=False)
    models = {
        name: replace(model, revision="0" * 40) if model.source == "hub" else model
        for name, model in registry.models.items()
    }
    return replace(registry, models=models)


@pytest.mark.parametrize("name", ["paper", "paper-corrected"])
def test_the_whole_study_is_the_paper_s(pinned, name):
    study = read_study(ROOT / "studies" / f"{name}.yaml")
    check_study(study, pinned)
    for method in METHODS:
        listed = [m.name for m in of_the_paper(pinned) if method in m.methods]
        assert study.models_of(method) == listed, method
    assert study.models == study.models_of(*METHODS)
    assert set(study.tasks) == set(pinned.tasks)
    for method in ("function_vectors", "task_vectors"):
        assert study.tasks_of(method) == [t.name for t in pinned.tasks.values() if t.releases[method]], method
    small, large = (study.sized(size).function_vectors for size in (27_227_128_320, 68_976_648_192))
    assert len(small.n_heads) * len(small.strengths) == 56 and len(large.n_heads) * len(large.strengths) == 12
    assert large.n_heads[-1] == 1024 and large.strengths == [1.0, 4.0, 16.0]
    assert study.protocol == Protocol.parse({"paper": "as_published", "paper-corrected": "corrected"}[name])


def test_the_two_whole_studies_differ_in_protocol_and_precision_only():
    names = ("paper", "paper-corrected")
    published, corrected = (read_study(ROOT / "studies" / f"{name}.yaml").model_dump() for name in names)
    assert published["task_vectors"].pop("dtype") == "float16" and corrected["task_vectors"].pop("dtype") is None
    assert {key for key in published if published[key] != corrected[key]} == {"study", "protocol"}
