"""The resources that a job asks a cluster for: cards (GPUs), CPUs, memory and time, from the registry and the study.

The site's nodes are described by the study's `resources` (`plan/compute_site.py`). Names of partitions and accounts are
in the site's profile (workflow/profiles/slurm).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.graph.keys import Step, checked_by, dtypes_of, steps_of
from offcourse.models import shapes
from offcourse.plan.compute_site import site_of
from offcourse.plan.jobs import CHECK, DTYPE_BYTES, NUMBERS, PlannedJob, plan
from offcourse.plan.probe import OF_WEIGHTS
from offcourse.plan.rates import A100
from offcourse.run.cards import VISIBLE, Card
from offcourse.study.config import Study

# Memory of a job beside its model, in MB: three processes of Snakemake, torch, and the tables of one task.
BASE_MB = 4000
# Host memory as a multiple of the weights with a card: what the loader holds on the way. Without a card: `OF_WEIGHTS`.
ON_THE_WAY = 1.1
# Minutes for the start-up of a model's job and a slow file system, once for all its steps; and the factor by which each
# step may exceed its planned time.
START_MINUTES, SLACK = 10, 4
# A node without cards is slower than one card by at least this much.
HOST_SLOWER = 100
# Each further attempt asks for this much more, as a share of the first attempt: a job that was ended early mostly ran
# out of memory or time.
MORE_MEMORY, MORE_TIME = 0.75, 1.0


@dataclass(frozen=True)
class Needs:
    """The resources that one step asks for. gpu: cards of one node. mem_mb: MB of the node's memory.

    runtime: minutes, without those for the start-up of the model's job (`with_start`), which all its steps share.
    problem: why no node can run this job ("" if one can). If set, the other fields are small placeholder values.
    """

    gpu: int
    cpus: int
    mem_mb: int
    runtime: int
    problem: str = ""

    def with_start(self) -> "Needs":
        """The resources of the one step that asks for the start-up of the model's job too."""
        return replace(self, runtime=self.runtime + START_MINUTES)

    def at(self, attempt: int) -> "Needs":
        """The resources at an attempt; later attempts ask for more memory and time. The first attempt is 1."""
        memory, time = (1 + more * (attempt - 1) for more in (MORE_MEMORY, MORE_TIME))
        return replace(self, mem_mb=math.ceil(self.mem_mb * memory), runtime=math.ceil(self.runtime * time))


class Sizes:
    """Computes `Needs` for the jobs of a study. Raises `OffcourseError` for a wrong key or value in `resources`."""

    def __init__(self, study: Study, registry: Registry):
        self.study, self.registry, self.site = study, registry, site_of(study)
        self._known: dict[str, Mapping[str, Needs]] = {}

    def needs(self, rule: str, model: str) -> Needs:
        """The resources of a rule's job on a model at its first attempt; a job without passes asks for no card."""
        if model not in self._known:
            self._known[model] = self._of_model(model)
        if rule in self._known[model]:
            return self._known[model][rule]
        # It starts, and reads the output projections.
        megabytes = self._projections(model)
        return Needs(0, 1, BASE_MB + megabytes, _minutes(A100.launch + A100.start + megabytes * 1e6 / A100.load))

    def problems(self) -> list[str]:
        """Why models of the study fit no node of the site, one message per model."""
        return [found for model in self.study.models if (found := self.needs("check_model", model).problem)]

    def _of_model(self, name: str) -> Mapping[str, Needs]:
        one = self.study.model_copy(update={"models": [name]})
        steps: dict[str, Step] = {"check_model": checked_by(one, name)}
        for step in steps_of(one, name).values():
            if step.runs_model:
                steps.setdefault(step.rule, step)
        cards = int(self.site["gpus_per_node"])
        # One card of unlimited memory, to plan for a site without cards, whose memory Slurm checks, and for weights
        # that may wait in the node's memory.
        unlimited = one.model_copy(update={"resources": self.study.resources | {"gpu_memory": 1e6, "gpus_per_node": 1}})
        try:
            jobs, held = plan(one if cards else unlimited, self.registry), bool(cards)
        except OffcourseError as error:
            if self.study.numerics.offload != "allow":
                # The problem is reported before a run begins that would use cards.
                small = Needs(min(1, cards), int(self.site["cpus_per_gpu"]), BASE_MB, 1, str(error))
                return dict.fromkeys(steps, small)
            jobs, held = [replace(job, cards=cards) for job in plan(unlimited, self.registry)], False
        return {job.name: self._asked(job, steps[job.name], held) for job in jobs if job.name in steps}

    def _asked(self, job: PlannedJob, step: Step, held: bool) -> Needs:
        """held: whether cards hold all the weights."""
        row = self.registry.model(job.model)
        size = max(DTYPE_BYTES[dtype] for dtype in dtypes_of(self.study, self.registry, job.model, step))
        weights = size * shapes.parameters(row)
        memory = weights * ON_THE_WAY if held else weights * OF_WEIGHTS + max(0, job.memory - weights)
        # Loading counts twice: the first load of a job reads from the file system and not from the memory of the node.
        seconds = (job.wall + job.load_seconds) * (1 if held else HOST_SLOWER)
        return Needs(
            gpu=job.cards if self.site["gpus_per_node"] else 0,
            cpus=int(self.site["cpus_per_gpu"]) * job.cards,
            mem_mb=BASE_MB + math.ceil(memory / 1e6),
            runtime=_minutes(seconds),
        )

    def _projections(self, name: str) -> int:
        """MB of the attention's output projections, which the step `function_vectors` reads."""
        row = self.registry.model(name)
        if None in (row.layers, row.heads, row.head_dim, row.width):
            return 0
        return math.ceil(4 * row.layers * row.heads * row.head_dim * row.width / 1e6)


def with_cards(study: Study, cards: Sequence[Card]) -> Study:
    """The study with the cards of this machine as the one node of its site; the smallest card counts.

    Without a card the study stays as it is.
    """
    if not cards:
        return study
    here = {"gpu_memory": max(1.0, min(card.memory for card in cards) / 1e9), "gpus_per_node": len(cards)}
    return study.model_copy(update={"resources": study.resources | here})


def too_small(sizes: Sizes, models: Collection[str], cards: int) -> str:
    """One message that names every model of `models` that this machine's cards cannot run; "" if they can run all."""
    wrong = [sizes.needs(CHECK, name).problem for name in sizes.study.models if name in models]
    wrong = [problem.removesuffix(NUMBERS) for problem in wrong if problem]
    if not wrong:
        return ""
    return "\n".join(
        [
            f"the cards of this machine are too small for {len(wrong)} of the {len(models)} models that have to run:",
            *(f"  {problem}" for problem in wrong),
            "Leave them out, choose a numerics.dtype of fewer bytes, lower numerics.max_rows, or set `numerics: "
            f"{{offload: allow}}`, which takes many times as long. {VISIBLE}= in front of the command runs the study "
            "without cards.",
        ]
    )


def _minutes(seconds: float) -> int:
    """Whole minutes of a time limit for work that the plan expects to take `seconds`."""
    return math.ceil(SLACK * seconds / 60)
