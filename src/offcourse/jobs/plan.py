"""What a study will take, by arithmetic from the registry and the configuration: nothing is loaded or asked.

Counted are floating-point operations of matrix products and the bytes of weights that passes read; a job takes the time
of whichever is slower, and its model's load. Lengths of prompts are estimates (`CHARACTERS_PER_TOKEN` and the constants
below), and so are the rates: A100 cards at a share of their peak. No measurement has been put into them yet.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from offcourse import shapes
from offcourse.errors import OffcourseError
from offcourse.jobs.steps import Step, checked_by, dtype_of, steps_of
from offcourse.questions import evaluated, lettered, primer
from offcourse.registry import RESOURCES, Model, QuestionSet, Registry
from offcourse.study.config import Study

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
ROWS = 4096  # the engine's row budget on a GPU when the study says auto
CHARACTERS_PER_TOKEN = 4.0
# Tokens of one demonstration and of the query: "Q: word\nA: answer\n\n" and "example:word->answer\n".
FV_DEMONSTRATION, FV_QUERY, TV_DEMONSTRATION, TV_QUERY = 10, 7, 8, 5
# Released question sets, which may not be there yet: questions, characters of one, answers of one, characters of one.
RELEASED = {
    "truthfulqa": (817, 59.2, 6209 / 817, 50.2),
    "factor-news": (1036, 1213.2, 4, 180.4),
    "truthfulqa-mc": (817, 346.2, 0, 0),
}
GPU_MEMORY_GB, GPUS_PER_NODE = 80, 8  # resources.gpu_memory, resources.gpus_per_node
USABLE = 0.9  # share of a card's memory
RUNTIME_BYTES = 2e9  # the GPU libraries' own, per card


@dataclass(frozen=True)
class Rates:
    """Of one card: products per second (FLOP/s), memory (bytes/s), and reading a model from disk (bytes/s)."""

    flops: float = 125e12
    memory: float = 1.4e12
    load: float = 1.5e9


@dataclass(frozen=True)
class Work:
    """What one step asks of a model.

    token_blocks: tokens times the blocks that they go through. attended: tokens that each of them is held against.
    unembedded: states that are multiplied with the whole unembedding. passes: times that all weights are read.
    """

    token_blocks: float = 0
    attended: float = 0
    unembedded: float = 0
    passes: float = 0

    def flops(self, model: Model) -> float:
        """Floating-point operations: two per weight and token, and the two products of attention."""
        of_block = 2 * (shapes.attention_weights(model) + shapes.mlp_weights(model))
        of_attention = 4 * model.heads * model.head_dim * self.attended
        return self.token_blocks * (of_block + of_attention) + self.unembedded * 2 * shapes.unembedding_weights(model)


@dataclass(frozen=True)
class Job:
    """One job: a rule on one model. bytes: of weights that it reads from the card's memory. memory: bytes per card.

    seconds: of computing; load_seconds: of loading the model before.
    """

    name: str
    model: str
    flops: float
    bytes: float
    memory: float
    cards: int
    seconds: float
    load_seconds: float

    @property
    def gpu_hours(self) -> float:
        """Hours of all its cards, the load included."""
        return self.cards * (self.seconds + self.load_seconds) / 3600


def plan(study: Study, registry: Registry, rates: Rates | None = None) -> list[Job]:
    """Every job of the study that loads a model, in the order in which the workflow runs them for each model.

    Raises `OffcourseError` for a model that does not fit the cards of one node (`resources`), or lacks a fact.
    """
    return [job for name in study.models for job in _jobs(study, registry, registry.model(name), rates or Rates())]


def _jobs(study: Study, registry: Registry, model: Model, rates: Rates) -> Iterator[Job]:
    sized = study.sized(model.parameters)
    jobs: dict[str, tuple[Step, list[Work]]] = {"check_model": (checked_by(study, model.name), [Work(passes=20)])}
    for name, step in steps_of(study, model.name).items():
        if step.runs_model:
            units = [step.unit(registry, unit) for unit in step.units(study)]
            jobs.setdefault(step.rule, (step, []))[1].extend(work(name, sized, model, unit) for unit in units)
    for name, (step, parts) in jobs.items():
        size = DTYPE_BYTES[dtype_of(study, registry, model.name, step)]
        weights = size * shapes.parameters(model)
        cards, memory = fit(study, model, size)
        flops = sum(part.flops(model) for part in parts)
        read = weights * sum(part.passes for part in parts)
        # Blocks are spread over the cards and run one after the other: more cards hold more, they are not faster.
        seconds = max(flops / rates.flops, read / rates.memory)
        yield Job(name, model.name, flops, read, memory, cards, seconds, weights / rates.load)


def rows_budget(study: Study) -> int:
    """Rows of one pass on a GPU."""
    return ROWS if study.numerics.max_rows == "auto" else int(study.numerics.max_rows)


def fit(study: Study, model: Model, size: int) -> tuple[int, float]:
    """Cards that a model takes, and bytes on each.

    size: bytes of a weight. Raises `OffcourseError` naming model and card when one node does not have so many.
    """
    missing = [key for key in ("layers", "heads", "kv_heads", "head_dim", "width") if getattr(model, key) is None]
    missing += [key for key in ("mlp_width", "vocabulary") if getattr(model, key) is None]
    if missing:
        raise OffcourseError(f"{model.name} cannot be planned: resources/models.tsv lacks its {', '.join(missing)}")
    card = float(study.resources.get("gpu_memory", GPU_MEMORY_GB)) * 1e9
    most = int(study.resources.get("gpus_per_node", GPUS_PER_NODE))
    # Residual streams, queries, keys, values and the feed-forward's products of one pass.
    workspace = rows_budget(study) * (8 * model.width + 3 * model.mlp_width) * max(size, 2) + RUNTIME_BYTES
    weights = size * shapes.parameters(model)
    room = USABLE * card - workspace
    cards = math.ceil(weights / room) if room > 0 else 0
    if not 0 < cards <= most:
        raise OffcourseError(
            f"{model.name} does not fit: {weights / 1e9:.0f} GB of weights and {workspace / 1e9:.0f} GB per card for a "
            f"pass, on {most} cards of {card / 1e9:.0f} GB (resources.gpus_per_node, resources.gpu_memory). Leave the "
            "model out, lower numerics.max_rows, or set the numbers of your cluster."
        )
    return cards, weights / cards + workspace


def work(step: str, study: Study, model: Model, unit) -> Work:
    """What a step asks for one task or question set; `study` has the grid of this model's size."""
    vectors, tasks, budget, layers = study.function_vectors, study.task_vectors, rows_budget(study), model.layers
    if step == "icl":
        # The prompts of one item are nested: each is a beginning of the longest, and a query.
        tokens = vectors.shots * FV_DEMONSTRATION + (vectors.shots + 1) * FV_QUERY
        return _forest(vectors.test_items, tokens, vectors.shots + 1, model, budget)
    if step == "head_means":
        prompt = vectors.shots * FV_DEMONSTRATION + FV_QUERY
        return _forest(vectors.trials, prompt, 0, model, budget)
    if step == "cie":
        prompt = vectors.shots * FV_DEMONSTRATION + FV_QUERY
        # A row begins in the block of its head and goes through that one and those above.
        if model.architecture == "GPTNeoX" and study.protocol.cie_output_bias == "dropped":
            # Without its bias a layer changes the whole prompt, so every layer takes passes of its own.
            return _rows(vectors.trials * layers, prompt, model.heads, (layers + 1) / 2, model, budget)
        return _rows(vectors.trials, prompt, layers * model.heads, (layers + 1) / 2, model, budget)
    if step in ("fv_sweep", "fv_controls"):
        counts = [k for k in vectors.n_heads if k <= layers * model.heads]
        # The prompts that some controls are read from are few beside the sweep.
        draws = [vectors.control_draws if name.startswith("random") else 1 for name in vectors.controls]
        edits = len(counts) * len(vectors.strengths) * (sum(draws) if step == "fv_controls" else 1)
        return _rows(vectors.test_items, FV_QUERY, layers * edits, (layers - 1) / 2, model, budget)
    if step == "tv_icl":
        prompt = tasks.shots * TV_DEMONSTRATION + TV_QUERY
        items = tasks.baseline_items + tasks.test_items
        mean = (tasks.baseline_items * TV_QUERY + tasks.test_items * prompt) / items
        return _forest(items, mean, 1, model, budget)
    if step == "task_vectors":
        prompt = tasks.shots * TV_DEMONSTRATION + TV_QUERY
        return _forest((tasks.dev_items + tasks.test_items) * tasks.dummy_queries, prompt, 0, model, budget)
    if step == "tv_sweep":
        return _rows(tasks.dev_items + tasks.test_items, TV_QUERY, layers, (layers - 1) / 2, model, budget)
    if step == "dola":
        return _dola(study, model, unit, budget)
    if step == "logit_lens":
        number, characters, _, _ = sizes(unit, study.logit_lens.limit)
        return _forest(number, characters / CHARACTERS_PER_TOKEN, layers + 1, model, budget)
    return Work()  # apathy is measured in the passes of the logit lens


def _forest(items: float, tokens: float, unembedded: float, model: Model, budget: int) -> Work:
    """Plain read-outs of so many items, each of so many new tokens.

    Passes are filled up to the budget; attention computes the products of all tokens of a pass and masks the others'.
    """
    passes = math.ceil(items * tokens / budget)
    return Work(items * tokens * model.layers, items * tokens / passes, items * unembedded, passes)


def _rows(items: int, prompt: int, rows: int, blocks: float, model: Model, budget: int) -> Work:
    """A prompt and its rows of edits, an item at a time: the first pass carries both, later ones rows alone."""
    passes = items * max(1, math.ceil(rows / budget))
    return Work(items * (prompt * model.layers + rows * blocks), prompt, items * (rows + 1), passes)


def _dola(study: Study, model: Model, unit: QuestionSet, budget: int) -> Work:
    number, question, answers, answer = sizes(unit, study.dola.limit)
    beginning = len(primer(RESOURCES)) / CHARACTERS_PER_TOKEN if unit.form == "primer" else 0
    question, answer = question / CHARACTERS_PER_TOKEN, answer / CHARACTERS_PER_TOKEN
    tokens = question + answers * answer
    # Every second layer, and the last one, of every token of an answer; the first is shared by a question's answers.
    read_out = number * answers * answer * (model.layers / 2 + 1)
    passes = number * math.ceil(tokens / budget)
    return Work((beginning + number * tokens) * model.layers, beginning + min(tokens, budget), read_out, passes)


def sizes(unit: QuestionSet, limit: int | None) -> tuple[float, float, float, float]:
    """Questions, characters of one, answers of one, characters of an answer (means)."""
    if unit.release:
        number, *rest = RELEASED[unit.name]
        return min(number, limit or number), *rest
    questions, _ = evaluated(unit, limit, 0, RESOURCES, Path())
    if unit.form == "letters":
        return len(questions), _mean([len(prompt.text) for prompt in lettered(questions)]), 0, 0
    answers = [answer for question in questions for _, answer in question.answers]
    return (
        len(questions),
        _mean([len(question.text) for question in questions]),
        len(answers) / len(questions),
        _mean([len(answer) + 1 for answer in answers]),
    )


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)


def downloads(study: Study, registry: Registry) -> dict[str, float]:
    """Bytes that each hub model's weights take, as published in half precision; other sources are small."""
    models = [registry.model(name) for name in study.models]
    return {model.name: 2.0 * shapes.parameters(model) for model in models if model.source == "hub"}
