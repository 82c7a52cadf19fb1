"""The plan's arithmetic: against operations counted on a running model, and against what the paper's models need."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from offcourse import shapes
from offcourse.engine import Engine, HeadRows, ResidualRows
from offcourse.errors import OffcourseError
from offcourse.jobs import plan as planning
from offcourse.jobs.plan import Job, Work, fit, plan
from offcourse.registry import RESOURCES, Registry
from offcourse.study.config import load_study, read_study

REGISTRY = Registry.load(locked=False)
PAPER = read_study(RESOURCES.parent / "studies" / "paper.yaml")


@pytest.fixture(scope="module")
def jobs() -> list[Job]:
    return plan(PAPER, REGISTRY)


def row_of(model):
    """The registry's row of a loaded tiny model."""
    facts = {name: getattr(model, name) for name in ("layers", "heads", "kv_heads", "head_dim", "width", "vocabulary")}
    return dataclasses.replace(REGISTRY.model("tiny-llama"), **facts, mlp_width=model.module.config.intermediate_size)


def counted(run) -> int:
    """Operations of matrix products. The counter knows explicit attention only, not the fused one of a CPU."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


PROMPT = list(range(2, 42))


def test_rows_of_heads_cost_what_the_engine_spends(tiny):
    model = tiny("Llama")
    means = torch.zeros(model.layers, model.heads, model.head_dim)
    spent = counted(lambda: Engine(model, attention="eager").read_rows(PROMPT, 5, HeadRows(means)))
    row = row_of(model)
    expected = planning._rows(1, len(PROMPT), row.layers * row.heads, (row.layers + 1) / 2, row, 512).flops(row)
    assert expected == pytest.approx(spent, rel=0.05)


def test_rows_of_vectors_cost_what_the_engine_spends(tiny):
    model, edits = tiny("Llama"), 30
    rows = ResidualRows(torch.ones(edits, model.width), model.layers)
    spent = counted(lambda: Engine(model, attention="eager").read_rows(PROMPT[:7], 5, rows))
    row = row_of(model)
    expected = planning._rows(1, 7, row.layers * edits, (row.layers - 1) / 2, row, 512).flops(row)
    assert expected == pytest.approx(spent, rel=0.05)


def test_prompts_cost_what_the_engine_spends(tiny):
    model = tiny("Llama")
    prompts = [[first, *PROMPT] for first in (50, 60, 70)]
    spent = counted(lambda: Engine(model, attention="eager").read(prompts, [5, 5, 5]))
    row = row_of(model)
    expected = planning._forest(3, len(PROMPT) + 1, 1, row, 512).flops(row)
    assert expected == pytest.approx(spent, rel=0.05)


def test_a_token_through_a_block_is_two_operations_per_weight():
    row = REGISTRY.model("llama-7b")
    of_blocks = (shapes.attention_weights(row) + shapes.mlp_weights(row)) * row.layers
    assert Work(token_blocks=row.layers).flops(row) == 2 * of_blocks
    assert Work(unembedded=1).flops(row) == 2 * row.vocabulary * row.width


def test_a_70b_model_in_bfloat16_takes_its_number_of_cards():
    study = load_study({"study": "s", "models": ["llama-2-70b"], "tasks": ["antonym"]})
    sizes = {memory: study.model_copy(update={"resources": {"gpu_memory": memory}}) for memory in (40, 80, 141)}
    model = REGISTRY.model("llama-2-70b")
    assert {memory: fit(sized, model, 2)[0] for memory, sized in sizes.items()} == {40: 5, 80: 3, 141: 2}
    cards, memory = fit(sizes[80], model, 2)
    assert cards * memory > 2 * model.parameters and memory < 0.9 * 80e9


def test_a_model_that_cannot_fit_is_refused_by_name():
    study = PAPER.model_copy(update={"resources": {"gpu_memory": 24, "gpus_per_node": 4}})
    with pytest.raises(OffcourseError, match=r"llama-2-70b does not fit: 138 GB of weights .* on 4 cards of 24 GB"):
        plan(study, REGISTRY)


def test_a_model_whose_facts_are_missing_is_named():
    row = dataclasses.replace(REGISTRY.model("tiny-llama"), mlp_width=None)
    with pytest.raises(OffcourseError, match="tiny-llama cannot be planned: .* lacks its mlp_width"):
        fit(PAPER, row, 2)


def test_the_paper_s_jobs_are_those_of_its_graph(jobs):
    counts = {name: len([job for job in jobs if job.name == name]) for name in {job.name for job in jobs}}
    assert counts == {
        "check_model": 42,
        "icl": 36,
        "head_means": 36,
        "cie": 36,
        "fv_sweep": 36,
        "task_vectors": 29,
        "dola": 10,
        "readings": 15,
    }


def test_large_models_take_several_cards_and_the_others_one(jobs):
    several = {job.model for job in jobs if job.cards > 1}
    assert several == {"llama-2-70b", "llama-3-70b", "llama-3.1-70b", "llama-3.1-70b-instruct", "qwen2-72b"}


def test_more_items_take_proportionally_more():
    def sweep(items):
        study = load_study(
            {"study": "s", "models": ["llama-7b"], "tasks": ["antonym"], "function_vectors": {"test_items": items}}
        )
        [job] = [job for job in plan(study, REGISTRY) if job.name == "fv_sweep"]
        return job

    assert sweep(50).flops == pytest.approx(5 * sweep(10).flops)
    assert sweep(50).load_seconds == sweep(10).load_seconds


def test_the_command_needs_no_lock_and_no_torch():
    command = [sys.executable, "-m", "offcourse", "plan", "--configfile", RESOURCES.parent / "studies" / "paper.yaml"]
    done = subprocess.run([*map(str, command), "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["gpu_hours"] == pytest.approx(sum(job["gpu_hours"] for job in told["jobs"]))
    assert len(told["downloads"]) == 42
    code = "import offcourse.jobs.plan, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
