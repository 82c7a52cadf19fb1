"""The price of the plain path: against operations counted on a running model, and in what the plan prints."""

import dataclasses
import json

import pytest
import torch
from plain_models import plain_model, plain_row, registry_with
from torch.utils.flop_counter import FlopCounterMode

from offcourse.engine import HeadRows, ResidualRows
from offcourse.engine.plain import PlainEngine
from offcourse.layout import Layout
from offcourse.plan.costs import work
from offcourse.plan.forecast import forecast
from offcourse.plan.jobs import plan
from offcourse.plan.pages import lines
from offcourse.plan.rates import A100
from offcourse.plan.whole import forwards, passes, whole_work, whole_workspace
from offcourse.study.config import load_study

PROMPT = list(range(2, 42))
STUDY = load_study(
    {
        "study": "planned",
        "models": ["tiny-llama", "tiny-falcon", "tiny-mamba"],
        "tasks": ["antonym"],
        "methods": ["function_vectors", "task_vectors", "dola", "logit_lens", "caa"],
        "function_vectors": {"models": ["tiny-llama", "tiny-falcon"]},
    }
)


def counted(run) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("tokens", [120, 4096])
def test_products_of_edits_are_those_that_the_plain_path_spends(tokens):
    model, row = plain_model("Falcon"), dataclasses.replace(plain_row("Falcon"), vocabulary=512)
    row = dataclasses.replace(row, parameters=model.parameters)
    engine = PlainEngine(model, tokens)
    heads = HeadRows(torch.zeros(model.layers, model.heads, model.head_dim))
    streams = ResidualRows(torch.zeros(5, model.width), model.layers)
    for rows, edits in ((heads, model.layers * model.heads), (streams, model.layers * 5)):
        spent = counted(lambda rows=rows: engine.row_states([PROMPT], rows))
        assert passes(1 + edits, len(PROMPT), row, tokens).flops(row) == pytest.approx(spent, rel=0.05)


def test_the_plan_counts_the_forwards_of_each_step():
    row, vectors, tasks = plain_row("Falcon"), STUDY.function_vectors, STUDY.task_vectors
    count = {step: sum(each for each, _ in forwards(step, STUDY, row, None)) for step in ("icl", "cie", "tv_sweep")}
    assert count["icl"] == vectors.test_items * (vectors.shots + 1)
    assert count["cie"] == vectors.trials * (1 + row.layers * (row.heads + 1))
    assert count["tv_sweep"] == (tasks.dev_items + tasks.test_items) * (1 + row.layers)


def test_a_whole_forward_per_edit_costs_many_times_a_row():
    row = plain_row("Falcon")
    for step, least in (("cie", 10), ("fv_sweep", 3)):
        whole, rows = (count(step, STUDY, row, None, 512).flops(row) for count in (whole_work, work))
        assert whole > least * rows
    assert whole_workspace("cie", STUDY, row, None, 4, 4096, "cpu") > whole_workspace(
        "cie", STUDY, row, None, 4, 512, "cpu"
    )


def test_the_plan_names_the_models_and_plans_one_without_heads(tmp_path):
    registry = registry_with("Falcon", "Mamba")
    jobs = plan(STUDY, registry, A100)
    of_heads = {"head_means", "cie", "function_vectors", "fv_sweep"}
    named = {model: {job.name for job in jobs if job.model == model} for model in STUDY.models}
    assert named["tiny-llama"] == named["tiny-falcon"] == named["tiny-mamba"] | of_heads
    assert of_heads.isdisjoint(named["tiny-mamba"]) and all(job.seconds > 0 and job.memory > 0 for job in jobs)
    found = json.loads(json.dumps(forecast(STUDY, registry, Layout("planned", tmp_path), A100)))
    said = "\n".join(lines(found))
    assert "tiny-falcon runs on the plain path" in said and "tiny-mamba runs on the plain path" in said
    assert "tiny-llama runs" not in said
