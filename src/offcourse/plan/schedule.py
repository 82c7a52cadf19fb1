"""What a cluster is given of a plan's jobs, and how long that takes on so many cards."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS
from offcourse.plan.jobs import CHECK, PlannedJob


@dataclass(frozen=True)
class Submission:
    """One job of a cluster: all that runs a model, one step after the other on its cards; or a job without a model.

    jobs: in the order in which they run.
    """

    model: str
    jobs: tuple[PlannedJob, ...]

    @property
    def cards(self) -> int:
        """The cards of the submission, which are the cards of its largest step."""
        return max(job.held for job in self.jobs)

    @property
    def wall(self) -> float:
        """Seconds of the whole submission."""
        return sum(job.wall for job in self.jobs)

    @property
    def loads(self) -> float:
        """Seconds in which the model is loaded: each step does so for itself."""
        return sum(job.load_seconds for job in self.jobs)

    @property
    def work(self) -> float:
        """Seconds of passes."""
        return sum(job.work_seconds for job in self.jobs)


def submissions(jobs: Iterable[PlannedJob]) -> list[Submission]:
    """What a cluster is given of these jobs (rules/cluster.smk): one per model with cards, the others as they are."""
    found: dict[Any, list[PlannedJob]] = {}
    for job in jobs:
        found.setdefault(job.model if job.held else (job.model, job.name), []).append(job)
    return [Submission(mine[0].model, tuple(mine)) for mine in found.values()]


def wall_time(jobs: Sequence[PlannedJob], places: int) -> float:
    """Seconds from the first job's start to the last one's end on so many cards, or places of a CPU.

    On cards jobs are those of a cluster (`submissions`); where no job has any, each takes one place. One begins when
    what it reads is there and enough places are free, the longest first; one without cards waits for no card. Raises
    `OffcourseError` for a job that needs more.
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
    """Rules that a rule's jobs wait for, of the same model."""
    steps = [step for step in STEPS.values() if step.rule == rule]
    found = {STEPS[name].rule for step in steps for name in step.inputs} - {rule}
    return found | ({CHECK} if any(step.runs_model for step in steps) else set())
