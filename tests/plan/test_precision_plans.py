"""The plan of a steering method in several precisions: work of each, loads, and memory of the largest model alone."""

import pytest
from plain_models import registry_with

from offcourse.data.registry import Registry
from offcourse.graph.keys import STEPS
from offcourse.models import shapes
from offcourse.plan.costs import work
from offcourse.plan.jobs import plan
from offcourse.plan.passes import SLICES
from offcourse.plan.rates import A100
from offcourse.plan.whole import whole_work
from offcourse.study.config import load_study

MODEL, TASKS = "llama-3.1-8b", ["antonym", "present-past", "country-capital"]


def study(precisions, model=MODEL, **section):
    return load_study(
        {
            "study": "planned",
            "models": [model],
            "tasks": TASKS,
            "methods": ["function_vectors", "caa"],
            "caa": {"pairs": 5, "precisions": precisions, **section},
        }
    )


def jobs_of(asked, registry=None):
    return {job.name: job for job in plan(asked, registry or Registry.load(locked=False), A100)}


def test_each_precision_more_costs_the_vectors_and_the_items_again():
    row, counted = Registry.load(locked=False).model(MODEL), {}
    args = (study(["float32"]), row, None, A100.rows, A100.tokens, SLICES["gpu"])
    for step in ("caa", "caa_precisions"):
        counted[step] = work(step, *args)
    job = jobs_of(study(["float32"]))["caa_precisions"]
    own, built = (len(TASKS) * counted[step].flops(row) for step in ("caa_precisions", "caa"))
    assert job.flops == pytest.approx(2 * own + built)
    read = {step: len(TASKS) * one.weight_bytes(row, 1) for step, one in counted.items()}
    assert row.dtype == "float16"
    assert job.bytes == pytest.approx(2 * read["caa_precisions"] + 4 * (read["caa_precisions"] + read["caa"]))
    # Each item through all blocks, edited or (below the edit) not; and before that three items that are compared with
    # plain forwards.
    items = study([]).function_vectors.test_items
    edited = items * 7 * row.layers
    assert counted["caa_precisions"].token_blocks == pytest.approx(edited + (3 + 1 + 2 * 3) * 7 * row.layers)


def test_models_are_loaded_one_after_the_other_and_the_largest_is_what_fits():
    row = Registry.load(locked=False).model(MODEL)
    with_half, with_full = jobs_of(study(["bfloat16"])), jobs_of(study(["float32"]))
    load = 2 * shapes.parameters(row) / A100.load
    assert with_half["caa"].load_seconds == pytest.approx(load)
    # Own, other; other, own; own, other: each task begins with the model that is there.
    assert with_half["caa_precisions"].load_seconds == pytest.approx(4 * load)
    assert with_full["caa_precisions"].load_seconds == pytest.approx(4 * 1.5 * load)
    gigabytes = {name: found["caa_precisions"].memory for name, found in (("h", with_half), ("f", with_full))}
    assert gigabytes["f"] - gigabytes["h"] >= 2 * shapes.parameters(row)
    assert gigabytes["f"] < 1.1 * (gigabytes["h"] + 2 * shapes.parameters(row))
    full = jobs_of(study([], dtype="float32"))["caa_sweep"]
    assert with_full["caa_precisions"].cards == full.cards
    assert {name: job.memory for name, job in with_full.items() if name != "caa_precisions"} == {
        name: job.memory for name, job in jobs_of(study([])).items()
    }


def test_the_plain_path_counts_whole_forwards():
    registry = registry_with("Falcon")
    asked, row = study(["bfloat16"], "tiny-falcon"), registry.model("tiny-falcon")
    found = whole_work("caa_precisions", asked, row, None, 512, 512, SLICES["gpu"])
    assert found.token_blocks == 2 * asked.function_vectors.test_items * 7 * row.layers
    assert jobs_of(asked, registry)["caa_precisions"].flops > 0
    assert STEPS["caa_precisions"].more_precisions(asked) == ["bfloat16"]
