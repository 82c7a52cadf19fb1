"""The planned jobs of a study with their time, memory and cards, from the registry and a machine's rates.

Nothing is loaded, downloaded or submitted. docs/plan.md has the formulae, the defaults and their sources.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path

from offcourse.data.names import STEERING
from offcourse.data.registry import Registry
from offcourse.data.rows import Model
from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS, Step, checked_by, dtypes_of, steps_of
from offcourse.graph.steps import ASKED_PARTS, part_of
from offcourse.models import shapes
from offcourse.plan.compute_site import site_of
from offcourse.plan.costs import checking, work
from offcourse.plan.memory import workspace
from offcourse.plan.passes import DTYPE_BYTES, SLICES, WORD_CALLS, Work, sizes
from offcourse.plan.rates import A100, Rates
from offcourse.plan.steering_costs import aside, asked_sizes, method_of, placed, swept_edits
from offcourse.plan.whole import counted, is_plain, whole_checking, whole_work, whole_workspace
from offcourse.study.config import Study

USABLE = 0.9  # share of a card's memory
RUNTIME_BYTES = 2e9  # taken by the GPU libraries themselves, per card
CPU_RUNTIME_BYTES = 0.45e9  # Python, torch and transformers
CHECK = "check_model"
# The end of a message about a model that does not fit the cards of a node.
NUMBERS = (
    " (resources.gpus_per_node, resources.gpu_memory). Leave the model out, lower numerics.max_rows, or set the "
    "numbers of your cluster."
)
# Hashing a model's file takes HASHING times as long as loading it. Reading the tokenizer with `transformers` takes
# PLAIN_TOKENIZER times as long as reading it with `models.tokenizer`.
HASHING, PLAIN_TOKENIZER = 2, 2


@dataclass(frozen=True)
class PlannedJob:
    """One job: a rule on one model.

    flops: operations of matrix products. bytes: bytes that these products read. memory: peak bytes per card (on a CPU,
    of the machine). cards: 0 for a job without a GPU.
    seconds: from the first import to the last result, as records measure it. It includes `start_seconds` (imports),
    `load_seconds` (loading the model) and `work_seconds` (passes). launch_seconds: start of Python before the first
    import. held: cards that the cluster's job (`Submission`) holds while this job runs; 0 outside of a cluster.
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
        """Seconds of the whole job, launch included."""
        return self.seconds + self.launch_seconds

    @property
    def gpu_hours(self) -> float:
        """GPU-hours of the job, including time in which its cards do not compute; 0 on a CPU."""
        return self.held * self.wall / 3600


def plan(study: Study, registry: Registry, rates: Rates | None = None, base: Path = Path()) -> list[PlannedJob]:
    """Every job of the study that belongs to one model, model by model, in an order in which the workflow can run them.

    base: the study's working directory.

    Raises `OffcourseError` for a model that does not fit the cards of one node (`resources`) or the machine's memory,
    and for a model that lacks a fact in models.tsv.
    """
    study = placed(study, base)
    return [job for name in study.models for job in _of_model(study, registry, registry.model(name), rates or A100)]


def _of_model(study: Study, registry: Registry, model: Model, rates: Rates) -> list[PlannedJob]:
    jobs = list(_jobs(study, registry, model, rates))
    most = max(job.cards for job in jobs)
    outside = {step.rule for step in STEPS.values() if not step.reads_weights}
    return [job if job.name in outside else replace(job, held=most) for job in jobs]


def _jobs(study: Study, registry: Registry, model: Model, rates: Rates) -> Iterator[PlannedJob]:
    sized, model = study.sized(model.parameters), counted(model)
    parts: dict[str, tuple[Step, list[Work]]] = {CHECK: (checked_by(study, model.name), [])}
    budgets = rows_budget(study, rates.rows), rows_budget(study, rates.tokens)
    plain = is_plain(model)
    count, checks = (whole_work, whole_checking) if plain else (work, checking)
    passes: dict[str, list] = {CHECK: [(CHECK, None)]}
    again: dict[str, Work] = {}
    for name, step in steps_of(study, model.name).items():
        units = [step.unit(registry, unit) for unit in step.units(study)] if step.runs_model else []
        of_units = [count(name, sized, model, unit, *budgets, SLICES[rates.device]) for unit in units]
        parts.setdefault(step.rule, (step, []))[1].extend(of_units)
        passes.setdefault(step.rule, []).extend((name, unit) for unit in units)
        if step.more_precisions(study):
            # The work of one precision more, in which the vectors are built as well.
            built = [count(step.methods[0], sized, model, unit, *budgets, SLICES[rates.device]) for unit in units]
            again[step.rule] = reduce(add, [*of_units, *built])

    def taken(rule: str, size: int) -> float:
        asked = [(name, sized, model, unit, size) for name, unit in passes[rule]]
        if plain:
            return max(whole_workspace(*each, budgets[1], rates.device) for each in asked)
        return max(workspace(*each, *budgets, rates.device) for each in asked)

    for name, (step, works) in parts.items():
        dtypes = dtypes_of(study, registry, model.name, step)
        size = max(DTYPE_BYTES[dtype] for dtype in dtypes)
        needs_tokenizer = "tokenizer" in step.reads or name == CHECK
        reading = WORD_CALLS * (model.vocabulary or 0) * rates.call if needs_tokenizer else 0
        if name != CHECK and not step.runs_model:
            seconds = rates.imports + reading
            yield PlannedJob(name, model.name, 0, 0, CPU_RUNTIME_BYTES, 0, seconds, rates.imports, 0, rates.launch)
            continue
        _complete(model)
        asked = dict.fromkeys(dtypes, again.get(name, Work()))
        asked[dtypes[0]] = reduce(add, works, checks(model) if name == CHECK else Work())
        load = _loading(model, dtypes, len(passes[name]), rates)
        if name == CHECK:
            # The check also hashes the files, and reads the tokenizer with `transformers` as well.
            reading = reading * (1 + PLAIN_TOKENIZER) + HASHING * load
        # Every job of a model gets the cards that the model's largest job needs.
        widest = max(taken(rule, size) for rule in passes if passes[rule])
        cards, memory = _room(study, model, size, taken(name, size), widest, rates)
        # Blocks are spread over the cards, one after the other. The host waits for each pass of the check.
        at_once = 1 if name == CHECK else max(1, cards)
        work_seconds = sum(one.seconds(model, dtype, rates, at_once) for dtype, one in asked.items())
        seconds = rates.start + load + reading + work_seconds
        read = sum(one.weight_bytes(model, DTYPE_BYTES[dtype]) for dtype, one in asked.items())
        numbers = sum(one.flops(model) for one in asked.values()), read, memory, cards
        yield PlannedJob(name, model.name, *numbers, seconds, rates.start, load, rates.launch, work_seconds)


def _loading(model: Model, dtypes: Sequence[str], units: int, rates: Rates) -> float:
    """Seconds in which a job loads its model.

    A job with several precisions has one model at a time. Each unit begins with the one that the unit before has left.
    """
    times = 1 + (len(dtypes) - 1) * units
    sizes = [DTYPE_BYTES[dtype] for dtype in dtypes]
    return times * sum(sizes) / len(sizes) * shapes.parameters(model) / rates.load


def rows_budget(study: Study, auto: int = A100.rows) -> int:
    """Rows of one pass. auto: the device's number, used if the study says `max_rows: auto`."""
    return auto if study.numerics.max_rows == "auto" else int(study.numerics.max_rows)


def fit(study: Study, model: Model, size: int, widest: float) -> int:
    """Number of cards that a model takes. size: bytes of a weight. widest: bytes of the model's largest pass.

    Raises `OffcourseError` naming model and card if one node has too few cards.
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
            f"pass, on {most} card{'s' * (most != 1)} of {card / 1e9:.3g} GB{NUMBERS}"
        )
    return cards


def _room(study: Study, model: Model, size: int, beside: float, widest: float, rates: Rates) -> tuple[int, float]:
    """(number of cards of a job, peak bytes per card); on a CPU (0, peak bytes of the machine).

    beside: bytes of the job's largest pass. widest: bytes of the largest pass of any job of the model.
    """
    weights = size * shapes.parameters(model)
    if rates.device == "gpu":
        cards = fit(study, model, size, widest)
        return cards, weights / cards + beside + RUNTIME_BYTES
    # While loading, both the mapped file and its copy are resident. A pass needs its memory after the file is unmapped.
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
    """{model: bytes of its download}. A model of the hub is assumed to be published in half precision."""
    found = {}
    for model in map(registry.model, study.models):
        if model.source == "hub":
            found[model.name] = 2.0 * shapes.parameters(model)
        elif model.source == "pypi":
            rows = [row for row in registry.sources.values() if model.name in row.used_by.split(",")]
            found[model.name] = float(sum(row.bytes or 0 for row in rows))
    return found


def disk(study: Study, registry: Registry, base: Path = Path()) -> dict[str, float]:
    """Bytes that stay on disk: `models`, prepared (GGUF files become float32), and `results` with their store.

    Results are counted as tensors, and as rows of tables with the bytes per row of the default study. base: the study's
    working directory.
    """
    study = placed(study, base)
    models, results = 0.0, 0.0
    for model in map(registry.model, study.models):
        models += (2.0 if model.source == "hub" else 4.0) * shapes.parameters(model)
        sized = study.sized(model.parameters)
        for name, step in steps_of(study, model.name).items():
            results += sum(_result(name, sized, model, step.unit(registry, unit)) for unit in step.units(study))
    return {"models": models, "results": 2 * results}


# Bytes of a compressed row of a table. Effects are different floats and compress badly, hits repeat and compress well.
HITS_BYTES = 0.3
# Of a row of side effects, which has two log-probabilities and a divergence.
ASIDE_BYTES = 20
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
    datasets, (method, part) = tasks.dev_items + tasks.test_items, part_of(step)
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
        build = 2 * vectors.trials * vectors.build_draws
        rows = (vectors.shots + 3) * vectors.test_items + build + 4 * datasets + tasks.baseline_items
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
    elif part in ASKED_PARTS:
        of = asked_sizes(method, study, model, unit)
        if part == "folds":
            return 2 * 4 * layers * model.width
        rows = of.number * of.answers * of.texts * (1 + of.edits)
    elif part:
        settings = getattr(study, method)
        if part == "side_effects":
            return 3e3 + ASIDE_BYTES * sum(texts for texts, *_ in aside(method, study))
        rows = vectors.test_items * swept_edits(method_of(method, study), settings.strengths, layers)[0]
        rows = {
            "controls": rows * settings.control_sweeps,
            "draws": vectors.test_items * settings.draws,
            "precisions": vectors.test_items * (1 + len(settings.precisions)),
        }.get(part, rows)
    else:
        number, _, answers, _ = sizes(unit, getattr(study, "dola" if step == "dola" else "logit_lens").limit)
        settings = 2 + 2 * 4 * len(study.dola.alphas)
        rows = number * (answers * settings if step == "dola" else layers + 1)
    return 3e3 + rows * ROW_BYTES.get("dola" if part in ASKED_PARTS else step, HITS_BYTES)
