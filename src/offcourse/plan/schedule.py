"""Scheduling a plan: the jobs that a cluster is given, and the wall time on a number of cards."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS
from offcourse.plan.jobs import CHECK, PlannedJob


@dataclass(frozen=True)
class Submission:
    """One job of a cluster: all jobs that run one model, one after the other on its cards; or a job without a model.

    jobs: the planned jobs in the order in which they run.
    """

    model: str
    jobs: tuple[PlannedJob, ...]

    @property
    def cards(self) -> int:
        """Number of cards of the submission: the cards of its largest job."""
        return max(job.held for job in self.jobs)

    @property
    def wall(self) -> float:
        """Seconds of the whole submission."""
        return sum(job.wall for job in self.jobs)

    @property
    def loads(self) -> float:
        """Seconds in which the model is loaded; each job loads it again."""
        return sum(job.load_seconds for job in self.jobs)

    @property
    def work(self) -> float:
        """Seconds in which passes run."""
        return sum(job.work_seconds for job in self.jobs)


def submissions(jobs: Iterable[PlannedJob]) -> list[Submission]:
    """The cluster's jobs (rules/cluster.smk): one per model for all its jobs with cards; other jobs one by one."""
    found: dict[Any, list[PlannedJob]] = {}
    for job in jobs:
        found.setdefault(job.model if job.held else (job.model, job.name), []).append(job)
    return [Submission(mine[0].model, tuple(mine)) for mine in found.values()]


def wall_time(jobs: Sequence[PlannedJob], places: int) -> float:
    """Seconds from the start of the first job to the end of the last one. places: cards, or jobs side by side on a CPU.

    With cards, the scheduled jobs are a cluster's (`submissions`). Without cards, each job takes one place. A job
    begins when its inputs exist and enough places are free, the longest job first; a job without cards waits for no
    card. Raises `OffcourseError` for a job that needs more than `places` cards.
    """
    on_cards = any(job.held for job in jobs)
    waiting = submissions(jobs) if on_cards else [Submission(job.model, (job,)) for job in jobs]
    needs = {each: each.cards if on_cards else 1 for each in waiting}
    for each, needed in needs.items():
        if needed > places:
            raise OffcourseError(f"--cards {places}: {each.model} takes {needed} cards. Give at least so many.")
    waiting.sort(key=lambda each: -each.wall)
    left = {(job.name, job.model) for job in jobs}
    running: list[tuple[float, int, Submission]] = []
    now, free = 0.0, places
    while waiting or running:
        for each in list(waiting):
            own = {job.name for job in each.jobs}
            upstream = {rule for name in own for rule in _upstream(name)} - own
            ready = not any((rule, each.model) in left for rule in upstream)
            if ready and needs[each] <= free:
                waiting.remove(each)
                free -= needs[each]
                heapq.heappush(running, (now + each.wall, id(each), each))
        now, _, ended = heapq.heappop(running)
        free += needs[ended]
        left -= {(job.name, job.model) for job in ended.jobs}
    return now


def _upstream(rule: str) -> set[str]:
    """Rules whose jobs a rule's job waits for, within one model."""
    steps = [step for step in STEPS.values() if step.rule == rule]
    found = {STEPS[name].rule for step in steps for name in step.inputs} - {rule}
    return found | ({CHECK} if any(step.runs_model for step in steps) else set())
