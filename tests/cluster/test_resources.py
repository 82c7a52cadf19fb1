"""What jobs ask a cluster for, by the registry and the numbers of a site."""

import pytest
from lab import SMOKE

from offcourse.cluster.resources import BASE_MB, START_MINUTES, Needs, Sizes
from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.plan.jobs import plan
from offcourse.plan.schedule import submissions
from offcourse.study.config import read_study

REGISTRY = Registry.load(locked=False)
PAPER = read_study(RESOURCES.parent / "studies" / "paper.yaml")


def sizes(**site) -> Sizes:
    return Sizes(PAPER.model_copy(update={"resources": site}), REGISTRY)


def test_every_job_of_the_plan_asks_for_its_cards_and_more_than_its_time():
    asked = sizes()
    for job in (job for job in plan(PAPER, REGISTRY) if job.cards):
        needs = asked.needs(job.name, job.model)
        assert (needs.gpu, needs.problem) == (job.cards, "")
        assert needs.cpus == 4 * job.cards
        assert needs.runtime * 60 >= 4 * (job.wall + job.load_seconds) > job.load_seconds


def test_a_model_s_job_asks_for_one_start_up_and_four_times_its_plan():
    asked = sizes()
    for given in (each for each in submissions(plan(PAPER, REGISTRY)) if each.cards):
        steps = [asked.needs(job.name, given.model) for job in given.jobs]
        minutes = START_MINUTES + sum(needs.runtime for needs in steps)
        assert steps[0].with_start().runtime == steps[0].runtime + START_MINUTES
        # Each step is rounded up to a minute, and its load is counted twice.
        assert 4 * given.wall / 60 <= minutes - START_MINUTES <= 4 * (given.wall + given.loads) / 60 + len(steps)
        if given.model == "qwen2-1.5b":
            assert minutes < 45


def test_a_70b_model_in_bfloat16_takes_two_cards_that_are_sold_with_80_gb_and_three_of_80e9_bytes():
    assert sizes().needs("fv_sweep", "llama-2-70b").gpu == sizes().needs("fv_sweep", "qwen2-72b").gpu == 2
    assert sizes(gpu_memory=80).needs("fv_sweep", "llama-2-70b").gpu == 3
    assert sizes(gpu_memory=141).needs("fv_sweep", "llama-2-70b").gpu == 2
    # 138 GB of weights on their way.
    assert 138_000 + BASE_MB < sizes().needs("fv_sweep", "llama-2-70b").mem_mb < 180_000


def test_a_later_attempt_gets_more_memory_and_time():
    needs = Needs(gpu=1, cpus=4, mem_mb=4000, runtime=20)
    assert needs.at(1) == needs
    assert needs.at(2) == Needs(1, 4, 7000, 40)
    assert needs.at(3) == Needs(1, 4, 10000, 60)


def test_a_rule_without_passes_asks_for_no_card():
    needs = sizes().needs("function_vectors", "llama-2-70b")
    assert needs.gpu == 0
    # 80 layers of 8192 x 8192 in float32.
    assert needs.mem_mb >= BASE_MB + 80 * 8192**2 * 4 / 1e6


def test_a_cluster_without_cards_has_memory_for_weights_and_more_time():
    with_cards, without = (sizes(gpus_per_node=count).needs("icl", "llama-7b") for count in (8, 0))
    assert without.gpu == 0 and without.cpus == 4
    assert without.mem_mb > BASE_MB + 2 * 13_400
    assert without.runtime > with_cards.runtime


def test_a_model_too_large_for_a_node_is_a_problem_that_names_it():
    asked = sizes(gpu_memory=24, gpus_per_node="4")
    large = ("llama-2-70b", "llama-3-70b", "llama-3.1-70b", "llama-3.1-70b-instruct", "qwen2-72b")
    assert [problem.partition(" ")[0] for problem in asked.problems()] == list(large)
    assert "does not fit: 138 GB of weights" in asked.problems()[0]
    assert sizes().problems() == []


@pytest.mark.parametrize(
    ("site", "message"),
    [
        ({"gpu_mem": 80}, "resources.gpu_mem is not known; did you mean 'gpu_memory'?"),
        ({"gpu_memory": "much"}, "resources.gpu_memory: expected a number, got 'much'"),
        ({"gpus_per_node": 1.5}, "resources.gpus_per_node: expected a whole number from 0 up, got 1.5"),
        ({"cpus_per_gpu": 0}, "resources.cpus_per_gpu: expected a whole number from 1 up, got 0"),
        ({"gpu_memory": "nan"}, "resources.gpu_memory: expected a number from 1 up, got 'nan'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_number_of_a_site_is_one_message(site, message):
    with pytest.raises(OffcourseError) as error:
        sizes(**site)
    assert str(error.value) == message


def test_the_smoke_study_asks_for_little():
    needs = Sizes(read_study(SMOKE), REGISTRY).needs("cie", "tiny-llama")
    assert needs.gpu == 1 and needs.mem_mb < 5000 and needs.runtime < 15
