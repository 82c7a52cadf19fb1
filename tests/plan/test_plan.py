"""The plan's arithmetic: against operations counted on a running model, and against what the paper's models need."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.engine import Engine, HeadRows, ResidualRows
from offcourse.errors import OffcourseError
from offcourse.layout import Layout
from offcourse.methods.dola import Answer, scores
from offcourse.models import shapes
from offcourse.plan import costs
from offcourse.plan.forecast import energy, forecast
from offcourse.plan.jobs import PlannedJob, fit, plan
from offcourse.plan.passes import Work
from offcourse.plan.probe import job_threads
from offcourse.plan.rates import A100, Rates, rates_of, rates_path, write_rates
from offcourse.plan.schedule import submissions, wall_time
from offcourse.study.config import load_study, read_study
from offcourse.study.dola_buckets import candidate_layers

REGISTRY = Registry.load(locked=False)
PAPER = read_study(RESOURCES.parent / "studies" / "paper.yaml")


@pytest.fixture(scope="module")
def jobs() -> list[PlannedJob]:
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
    count = row.layers * row.heads
    expected = costs.rows(1, len(PROMPT), count, (row.layers + 1) / 2, row, 512)
    expected += costs.unembedding(count + 1, 1, row, costs.SOFTMAX)
    assert expected.flops(row) == pytest.approx(spent, rel=0.05)


def test_rows_of_vectors_cost_what_the_engine_spends(tiny):
    model, edits = tiny("Llama"), 30
    rows = ResidualRows(torch.ones(edits, model.width), model.layers)
    spent = counted(lambda: list(Engine(model, attention="eager").predict_rows([PROMPT[:7]], rows)))
    row = row_of(model)
    expected = costs.rows(1, 7, row.layers * edits, (row.layers - 1) / 2, row, 512)
    expected += costs.unembedding(row.layers * edits + 1, 1, row, costs.MAXIMUM)
    assert expected.flops(row) == pytest.approx(spent, rel=0.05)


def test_prompts_cost_what_the_engine_spends(tiny):
    model = tiny("Llama")
    prompts = [[first, *PROMPT] for first in (50, 60, 70)]
    spent = counted(lambda: Engine(model, attention="eager").read(prompts, [5, 5, 5]))
    row = row_of(model)
    expected = costs.forest(3, len(PROMPT) + 1, row, 512) + costs.unembedding(3, 1, row, costs.SOFTMAX)
    assert expected.flops(row) == pytest.approx(spent, rel=0.05)


def test_questions_cost_what_the_engine_spends(tiny):
    """Three questions behind a beginning of eight tokens, each of ten tokens and four answers of six."""
    model = tiny("Llama")
    answers = [
        Answer(question, answer, "true", (*range(2, 10), *[20 + question] * 10, *[30 + answer] * 6), 17)
        for question in range(3)
        for answer in range(4)
    ]
    buckets = candidate_layers("auto", model.layers)
    settings = {"alphas": [0.0, 0.1], "length_bias": 20, "dola_mask": "constant", "dola_premature_norm": "none"}
    settings |= {"dola_divergence": "mean_kl", "score_dtype": "model", "length_bias (protocol)": "subtracted"}
    spent = counted(lambda: list(scores(Engine(model, attention="eager"), answers, buckets, settings)))
    row = row_of(model)
    layers = 1 + len({layer for members in buckets.values() for layer in members})
    expected = costs.contrasts(3, 8, 10, 4, 6, 1.0, layers, row, 512)
    assert expected.flops(row) == pytest.approx(spent, rel=0.05)


def rates(**changes) -> Rates:
    """A machine whose every rate is a power of ten, so that a sum shows each part by itself."""
    fixed = {"flops": 1e3, "flops_half": 1e6, "memory": 1.0, "elementwise": 1.0, "exponentials": 1.0, "call": 0.0}
    fixed |= {
        "load": 1e9,
        "start": 3.0,
        "imports": 1.0,
        "launch": 0.5,
        "rows": 512,
        "tokens": 512,
        "threads": 1,
        "places": 2,
    }
    return Rates(**{"name": "fixed", "device": "cpu"} | fixed | changes)


INFINITE = {name: float("inf") for name in ("flops", "flops_half", "memory", "elementwise", "exponentials", "load")}


@pytest.mark.parametrize(
    ("rate", "asked", "seconds"),
    [
        # llama-7b: 32 heads of 128, width 4096, feed-forward 11008, 32000 words.
        ({"flops_half": 2.0}, Work(unembedded=3), 3 * 4096 * 32000),
        ({"flops_half": 4.0}, Work(scores=5), 5 * 32 * 128),
        ({"memory": 2.0}, Work(head_passes=3), 3 * 4096 * 32000),
        ({"memory": 2.0}, Work(block_passes=1), 4 * 4096 * 4096 + 3 * 4096 * 11008),
        ({"elementwise": 4.0}, Work(numbers=7), 7),
        ({"elementwise": 2.0}, Work(token_blocks=1), 24 * 4096 + 10 * 128 * 96 + 5 * 11008),
        ({"exponentials": 1.0}, Work(exponentials=9, token_blocks=1), 9 + 11008),
        ({"call": 0.5}, Work(slices=2, block_passes=1), 0.5 * (24 + 80)),
    ],
)
def test_seconds_are_counts_over_rates(rate, asked, seconds):
    assert asked.seconds(REGISTRY.model("llama-7b"), "float16", rates(**INFINITE | rate)) == seconds


def test_a_job_s_time_is_its_imports_its_load_and_its_work():
    study = load_study({"study": "s", "models": ["llama-7b"], "tasks": ["antonym"], "numerics": {"dtype": "float32"}})
    made = rates(**INFINITE | {"flops": 1e15, "load": 1e9, "machine_memory": 1e12})
    [job] = [job for job in plan(study, REGISTRY, made) if job.name == "head_means"]
    assert job.load_seconds == pytest.approx(4 * 6.738, rel=1e-3)
    assert job.seconds == pytest.approx(3 + job.load_seconds + job.flops / 1e15)
    assert job.wall == job.seconds + 0.5 and job.gpu_hours == 0


def test_a_model_that_does_not_fit_the_machine_is_refused_by_name():
    study = load_study({"study": "s", "models": ["llama-7b"], "tasks": ["antonym"]})
    with pytest.raises(
        OffcourseError, match=r"llama-7b does not fit: 27\.4 GB at its peak, on this machine of 8\.0 GB"
    ):
        plan(study, REGISTRY, rates(machine_memory=8e9))


def job(name: str, model: str, seconds: float, cards: int = 1, **more) -> PlannedJob:
    return PlannedJob(name, model, 0, 0, 0, cards, seconds, 0, 0, 0, **{"held": cards} | more)


def test_a_cluster_is_given_one_job_per_model():
    steps = [job("icl", "a", 10, work_seconds=4), job("function_vectors", "a", 1, cards=0, held=3)]
    wide = job("cie", "a", 20, cards=3, work_seconds=15)
    apart = job("prompts", "a", 2, cards=0), job("icl", "b", 7)
    of_a, prompts, of_b = submissions([*steps, wide, *apart])
    assert (of_a.cards, of_a.wall, of_a.work) == (3, 31, 19)
    assert [each.name for each in of_a.jobs] == ["icl", "function_vectors", "cie"]
    assert (prompts.cards, prompts.wall, of_b.cards, of_b.wall) == (0, 2, 1, 7)


def test_the_wall_time_keeps_to_the_order_of_steps_and_to_the_cards():
    apart = [job("icl", "a", 10), job("icl", "b", 10), job("icl", "c", 6)]
    assert [wall_time(apart, cards) for cards in (1, 2, 3)] == [26, 16, 10]
    # Of one model one step runs after the other, on however many cards; words are read before.
    chain = [job("cie", "a", 5), job("head_means", "a", 4), job("prompts", "a", 2, cards=0)]
    assert wall_time(chain, 8) == 2 + 4 + 5
    wide = [job("icl", "a", 10, cards=3), job("icl", "b", 10)]
    assert [wall_time(wide, cards) for cards in (3, 4)] == [20, 10]
    with pytest.raises(OffcourseError, match="--cards 2: a takes 3 cards"):
        wall_time(wide, 2)


def test_on_a_machine_without_cards_each_step_is_a_job_of_its_own():
    own = [job(name, "a", 3, cards=0) for name in ("check_model", "icl", "head_means", "cie", "fv_sweep")]
    assert wall_time(own, 1) == 15
    assert wall_time(own, 2) == 3 + 3 + 3  # the sweep waits for function_vectors, which is done


def test_energy_is_hours_times_watts_times_the_building(tmp_path):
    study = PAPER.model_copy(update={"resources": {"pue": 1.5, "grid_intensity": 100, "gpu_utilisation": 0.5}})
    found = energy(study, [job("icl", "a", 3600, cards=2)], A100)
    assert found["kwh"] == pytest.approx(2 * 0.4 * 0.5 * 1.5)
    assert found["kg_co2"] == pytest.approx(0.1 * found["kwh"])
    on_cores = energy(study, [job("icl", "a", 3600, cards=0)], rates(threads=4))
    assert on_cores["kwh"] == pytest.approx(4 * 0.010 * 1.5)
    wrong = PAPER.model_copy(update={"resources": {"pue": "low"}})
    with pytest.raises(OffcourseError, match=r"resources\.pue: expected a number, got 'low'"):
        energy(wrong, [], A100)


def test_rates_are_kept_and_named(tmp_path):
    path = rates_path(tmp_path)
    assert rates_of(None, tmp_path) is A100
    write_rates(path, rates(), {"host": "here"})
    assert rates_of(None, tmp_path) == rates() == rates_of(str(path), Path("elsewhere"))
    assert rates_of("a100", tmp_path) is A100
    known = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in known.items() if key != "memory"}))
    with pytest.raises(OffcourseError, match=r"rates\.json is no file of rates: it lacks memory.*--calibrate"):
        rates_of(None, tmp_path)
    with pytest.raises(OffcourseError, match="there are no rates in nowhere"):
        rates_of("nowhere", tmp_path)


def test_rates_of_other_threads_are_noted(tmp_path):
    study = load_study({"study": "s", "models": ["tiny-llama"], "tasks": ["antonym"]})
    layout = Layout("s", tmp_path)
    [note] = forecast(study, REGISTRY, layout, rates(machine_memory=8e9))["notes"]
    assert "of jobs with 1 threads, this study's have 2" in note
    assert forecast(study, REGISTRY, layout, rates(threads=2, places=1))["notes"] == []


def test_jobs_have_the_threads_that_the_workflow_gives_them():
    study = load_study({"study": "s", "models": ["tiny-llama", "llama-7b"], "tasks": ["antonym"]})
    assert [job_threads(study, REGISTRY, cores, 8e9) for cores in (1, 2, 9)] == [1, 1, 4]
    fixed = study.model_copy(update={"numerics": study.numerics.model_copy(update={"threads": 3})})
    assert job_threads(fixed, REGISTRY, 8, 8e9) == 3


def test_two_jobs_of_an_only_model_run_side_by_side_where_the_memory_holds_it_twice():
    study = load_study({"study": "s", "models": ["smollm2-135m-instruct"], "tasks": ["antonym"]})
    assert job_threads(study, REGISTRY, 8, 8e9) == 8
    several = study.model_copy(update={"methods": ["function_vectors", "caa"]})
    assert [job_threads(several, REGISTRY, cores, 8e9) for cores in (1, 2, 8)] == [1, 1, 4]
    # Twice 2.2 x 4 bytes of 134.5 million parameters, and twice 1.5 GB beside them.
    assert [job_threads(several, REGISTRY, 8, memory) for memory in (5.3e9, 5.4e9)] == [8, 4]


def test_a_token_through_a_block_is_two_operations_per_weight():
    row = REGISTRY.model("llama-7b")
    of_blocks = (shapes.attention_weights(row) + shapes.mlp_weights(row)) * row.layers
    assert Work(token_blocks=row.layers).flops(row) == 2 * of_blocks
    assert Work(unembedded=1).flops(row) == 2 * row.vocabulary * row.width


def test_a_70b_model_in_bfloat16_takes_its_number_of_cards():
    study = load_study({"study": "s", "models": ["llama-2-70b"], "tasks": ["antonym"]})
    sizes = {memory: study.model_copy(update={"resources": {"gpu_memory": memory}}) for memory in (40, 80, 141)}
    model = REGISTRY.model("llama-2-70b")
    assert {memory: fit(sized, model, 2, 1.3e9) for memory, sized in sizes.items()} == {40: 5, 80: 3, 141: 2}
    for each in (job for job in plan(sizes[80], REGISTRY) if job.cards):
        assert each.cards == 3 and each.cards * each.memory > 2 * model.parameters and each.memory < 0.9 * 80e9


def test_a_model_that_cannot_fit_is_refused_by_name():
    study = PAPER.model_copy(update={"resources": {"gpu_memory": 24, "gpus_per_node": 4}})
    with pytest.raises(OffcourseError, match=r"llama-2-70b does not fit: 138 GB of weights .* on 4 cards of 24 GB"):
        plan(study, REGISTRY)


def test_a_model_whose_facts_are_missing_is_named():
    row = dataclasses.replace(REGISTRY.model("tiny-llama"), mlp_width=None)
    registry = dataclasses.replace(REGISTRY, models=REGISTRY.models | {"tiny-llama": row})
    study = load_study({"study": "s", "models": ["tiny-llama"], "tasks": ["antonym"]})
    with pytest.raises(OffcourseError, match="tiny-llama cannot be planned: .* lacks its mlp_width"):
        plan(study, registry)


def test_the_paper_s_jobs_are_those_of_its_graph(jobs):
    counts = {name: len([job for job in jobs if job.name == name]) for name in {job.name for job in jobs}}
    assert counts == {
        "check_model": 42,
        "prompts": 36,
        "function_vectors": 36,
        "icl": 36,
        "head_means": 36,
        "cie": 36,
        "fv_sweep": 36,
        "fv_controls": 36,
        "task_vectors": 29,
        "dola": 10,
        "readings": 15,
    }


def test_every_job_of_the_paper_with_cards_computes_for_longer_than_it_loads(jobs):
    held = [each for each in submissions(jobs) if each.cards]
    assert len(held) == 42 and [each.model for each in held if each.work < each.loads] == []
    # By itself, many a step would not.
    assert len([each for each in jobs if each.cards and each.work_seconds < each.load_seconds]) > 40


def test_a_job_that_loads_for_longer_than_it_computes_is_named(tmp_path):
    study = load_study({"study": "s", "models": ["llama-7b"], "tasks": ["antonym"], "function_vectors": {"trials": 1}})
    layout, slow = Layout("s", tmp_path), dataclasses.replace(A100, load=A100.load / 100)
    assert forecast(study, REGISTRY, layout, slow)["cluster"]["short"] == ["llama-7b"]
    assert forecast(PAPER, REGISTRY, layout, A100)["cluster"]["short"] == []


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


def test_the_paper_s_study_stays_far_below_its_own_budget(jobs):
    hours = sum(job.gpu_hours for job in jobs)
    assert 5 < hours < 60
    assert wall_time(jobs, 8) / 3600 > hours / 8


def test_the_command_needs_no_lock_no_data_and_no_torch(tmp_path):
    command = [sys.executable, "-m", "offcourse", "plan", "--configfile", RESOURCES.parent / "studies" / "paper.yaml"]
    command += ["--directory", tmp_path, "--rates", "a100", "--cards", "16", "--json"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for part in ("jobs", "steps", "models"):
        assert told["gpu_hours"] == pytest.approx(sum(row["gpu_hours"] for row in told[part]))
    assert told["gpu_hours_left"] == told["gpu_hours"] == pytest.approx(told["budget"]["total"])
    assert not any(job["done"] for job in told["jobs"])
    assert told["wall"]["cards"] == 16 and told["wall"]["hours"] > told["gpu_hours"] / 16
    assert told["budget"]["paper_function_vectors"] == 1050 > told["budget"]["function_vectors"]
    assert len(told["downloads"]) == 42
    assert list(tmp_path.iterdir()) == []
    code = "import offcourse.plan.forecast, offcourse.plan.probe, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
