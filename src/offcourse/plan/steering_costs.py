"""The work of the steps of a steering method beyond the paper's (`offcourse.steering`), part by part (`part_of`)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from offcourse.data.rows import Model, QuestionSet
from offcourse.plan.passes import (
    DISTINCT,
    FV_DEMONSTRATION,
    FV_QUERY,
    PROSE,
    SOFTMAX,
    Slices,
    Work,
    beginning,
    forest,
    hits,
    rows,
    sizes,
    unembedding,
)
from offcourse.steering import steering
from offcourse.steering.contract import Settings, SteeringMethod
from offcourse.steering.vector_file import NAME as VECTOR_FILE
from offcourse.study.config import Study

# Tokens of a neutral passage and of its continuation, means over the passages with a tokenizer of 49,152 words.
PASSAGE, CONTINUATION = 49, 36
# Most texts, and most edits of each, that are compared with plain forwards before a method's edits are used.
COMPARED = 3


def placed(study: Study, base: Path) -> Study:
    """The study with the path of its vector file from here. base: the study's working directory."""
    if VECTOR_FILE not in study.methods:
        return study
    section = getattr(study, VECTOR_FILE)
    return study.model_copy(update={VECTOR_FILE: section.model_copy(update={"file": str(base / section.file)})})


def method_of(name: str, study: Study) -> SteeringMethod:
    """A steering method as the study configures it. Raises `OffcourseError` for a vector file that is refused."""
    settings = getattr(study, name)
    return _configured(name, type(settings), settings.model_dump_json())


@cache
def _configured(name: str, kind: type[Settings], settings: str) -> SteeringMethod:
    # A vector file is read once for all models and tasks.
    return steering(name).configured(kind.model_validate_json(settings))


def swept_edits(method: SteeringMethod, strengths: Sequence[float], layers: int) -> tuple[int, int]:
    """(edits of an item's sweep, tokens of the item that each of them computes anew)."""
    return len(method.layer_sets(layers)) * len(strengths), 1 if _shares(method) else FV_QUERY


def prompts_read(name: str, study: Study) -> tuple[int, int]:
    """(prompts that are read to build the vectors of a task, demonstrations in each); none for vectors from a file."""
    vectors = study.function_vectors
    if name == VECTOR_FILE:
        return 0, 0
    return steering(name).passes(getattr(study, name), vectors.shots, vectors.trials)


def built(name: str, study: Study, model: Model, of_tokens: int) -> Work:
    """The work of building a steering method's vectors for one task."""
    count, shots = prompts_read(name, study)
    return forest(count, shots * FV_DEMONSTRATION + FV_QUERY, model, of_tokens) if count else Work()


def _shares(method: SteeringMethod) -> bool:
    """Whether edits share the prompt up to its last token, which they do not change."""
    return method.site == "logits" or method.positions in ("last", "answer")


def _in_rows(method: SteeringMethod, layers: int) -> bool:
    """Whether the edits of a sweep are rows, of which those of many items go through the model together."""
    sets = [(layer,) for layer in range(layers)]
    return method.site == "residual" and _shares(method) and method.layer_sets(layers) == sets


def _blocks(method: SteeringMethod, layers: int) -> float:
    """Blocks that an edit goes through, a mean over the method's layer sets."""
    if method.site == "logits":
        return 0
    sets = method.layer_sets(layers)
    return sum(layers - min(some) - (method.site == "residual") for some in sets) / len(sets)


def edited(
    method: SteeringMethod, items: float, tokens: float, edits: float, read: float, model: Model, budget: int
) -> Work:
    """The work of passes over texts one by one, each without an edit and under `edits` edits.

    tokens: of a text. read: its last tokens that are read, which are all that edits behind the prompt compute anew. The
    beginning before them is then a pass of its own.
    """
    shares = _shares(method)
    anew = read if shares else tokens
    blocks = edits * _blocks(method, model.layers)
    through = items * (tokens * model.layers + anew * blocks)
    passes = shares + max(1, math.ceil(edits * anew / budget))
    return Work(through, through * tokens, block_passes=items * passes * model.layers)


def apart(
    method: SteeringMethod, items: float, tokens: float, edits: int, unedited: bool, model: Model, budget: int
) -> Work:
    """The work of texts that go through the model together under some edits of the same layers (`engine.together`).

    unedited: whether a text without an edit goes through all blocks, or through those below the edits alone.
    """
    blocks = _blocks(method, model.layers)
    together = min(items, max(1, budget // (1 + edits) // tokens))
    through = items * tokens * (model.layers - (0 if unedited else blocks) + edits * blocks)
    return Work(through, through * together * tokens, block_passes=math.ceil(items / together) * model.layers)


def steered(
    name: str, part: str, study: Study, model: Model, unit, budget: int, of_tokens: int, slices: Slices
) -> Work:
    """The work of one part of a steering method for one unit. The other arguments are those of `costs.work`.

    Of `precisions` it is the work in the method's own precision; in each other one the vectors are built as well.
    """
    if part == "sweep":
        return _swept(name, study, model, budget, of_tokens, slices)
    if part == "controls":
        of_control = _swept(name, study, model, budget, of_tokens, slices)
        return sum([of_control] * getattr(study, name).control_sweeps, Work())
    if part == "draws":
        return _drawn(name, study, model, of_tokens, slices)
    if part == "precisions":
        return _in_precision(name, study, model, of_tokens, slices)
    if part == "side_effects":
        return _aside(name, study, model, of_tokens, slices)
    return _asked(name, part, study, model, unit, budget, of_tokens, slices)


def compared(items: float, tokens: float, edits: float, model: Model) -> Work:
    """The work of comparing states under edits with plain forwards (`engine.edit_checks`), on texts of `tokens` tokens.

    Of each compared text one pass has its edits; each edit has a plain forward, and one more with rounding noise.
    """
    texts, some = min(items, COMPARED), min(edits, COMPARED)
    forwards = texts + 1 + 2 * texts * some
    through = forwards * tokens * model.layers
    return Work(through, through * tokens, block_passes=forwards * model.layers)


def _swept(name: str, study: Study, model: Model, budget: int, of_tokens: int, slices: Slices) -> Work:
    """The work of the sweep of a steering method for one task."""
    method, settings, items = method_of(name, study), getattr(study, name), study.function_vectors.test_items
    edits, _ = swept_edits(method, settings.strengths, model.layers)
    if method.site == "prompt":
        count, shots = method.passes(settings, study.function_vectors.shots, items)
        run = forest(count, shots * FV_DEMONSTRATION + FV_QUERY, model, of_tokens)
        return run + unembedding(count, 1, model, SOFTMAX, slices)
    if not _in_rows(method, model.layers):
        run = edited(method, items, FV_QUERY, edits, 1, model, of_tokens)
        run += compared(items, FV_QUERY, edits, model) if method.site != "logits" else Work()
        return run + hits(edits, items, FV_QUERY, model, 0, slices)
    run = rows(items, FV_QUERY, edits, _blocks(method, model.layers), model, budget)
    return run + hits(edits + 1, items, FV_QUERY, model, budget, slices)


def _drawn(name: str, study: Study, model: Model, of_tokens: int, slices: Slices) -> Work:
    """The work of the further draws of a steering method: its vectors again, and one edit of every item for each."""
    draws, items = getattr(study, name).draws, study.function_vectors.test_items
    run = sum([built(name, study, model, of_tokens)] * (draws - 1), Work())
    run += apart(method_of(name, study), items, FV_QUERY, draws, False, model, of_tokens)
    run += compared(items, FV_QUERY, draws, model)
    return run + unembedding(items * draws, 1, model, SOFTMAX, slices)


def _in_precision(name: str, study: Study, model: Model, of_tokens: int, slices: Slices) -> Work:
    """The work of one precision of a steering method without its vectors: one edit of every item, and the item."""
    items = study.function_vectors.test_items
    run = apart(method_of(name, study), items, FV_QUERY, 1, False, model, of_tokens)
    run += compared(items, FV_QUERY, 1, model)
    return run + unembedding(items, 1, model, SOFTMAX, slices)


def aside(name: str, study: Study) -> list[tuple[float, float, float]]:
    """(texts, tokens of each, states of each that are read) of the side effects of a steering method, for one task.

    Neutral passages, and the few-shot prompts of the other tasks. Of a method that changes the prompt, both have its
    text in front.
    """
    settings, vectors, method = getattr(study, name), study.function_vectors, steering(name)
    others = len(study.tasks_of(name)) - 1
    shots = method.demonstrations(settings) if method.site == "prompt" else 0
    front, prompt = shots * FV_DEMONSTRATION, vectors.shots * FV_DEMONSTRATION + FV_QUERY
    return [(settings.passages, front + PASSAGE, CONTINUATION), (others * vectors.test_items, front + prompt, 1)]


def _aside(name: str, study: Study, model: Model, of_tokens: int, slices: Slices) -> Work:
    """The work of the side effects of a steering method: every text with the edit and without."""
    run, method = Work(), method_of(name, study)
    if method.site != "prompt":
        run += compared(getattr(study, name).passages, PASSAGE, 1, model)
    for texts, tokens, read in aside(name, study):
        if texts and method.site == "prompt":
            run += forest(2 * texts, tokens, model, of_tokens)
            run += unembedding(math.ceil(2 * texts * read), 1, model, SOFTMAX, slices)
        elif texts:
            # Passages are read without the edit as well.
            of_passages = read > 1
            run += apart(method, texts, tokens, 1, of_passages, model, of_tokens)
            run += unembedding(math.ceil(texts * read * (1 + of_passages)), 1, model, SOFTMAX, slices)
    return run


@dataclass(frozen=True)
class AskedSizes:
    """Sizes of a question set under a steering method.

    number: questions. prompt, answer: tokens of a prompt and of an answer, that of a prompt without the beginning that
    all prompts share (`shared`). answers: of a question. edits: of a question. anew: tokens of a prompt that an edit
    computes anew. pairs: contrasts of all questions. texts: prompts of a question (several for an instruction).
    """

    number: float
    shared: float
    prompt: float
    answers: float
    answer: float
    edits: int
    anew: float
    pairs: float
    texts: int


def asked_sizes(name: str, study: Study, model: Model, unit: QuestionSet) -> AskedSizes:
    """The sizes of a question set under a steering method. A question counts one pair for two of its answers."""
    method, settings = method_of(name, study), getattr(study, name)
    number, question, answers, answer = sizes(unit, settings.limit)
    shared, prompt = beginning(unit), question / PROSE
    texts, edits, anew = 1, 0, 0.0
    if method.site == "prompt":
        # A demonstration is a question and its best answer.
        texts = 1 + len(settings.strengths)
        prompt += sum(settings.strengths) / texts * (question + answer) / PROSE
    else:
        edits = len(method.layer_sets(model.layers)) * len(settings.strengths)
        anew = 1 if _shares(method) else shared + prompt
    return AskedSizes(number, shared, prompt, answers, answer / PROSE, edits, anew, number * answers / 2, texts)


def _asked(name: str, kind: str, study: Study, model: Model, unit, budget: int, of_tokens: int, slices: Slices) -> Work:
    """The work of a steering method on one question set: building its vectors (folds), or scoring (answers)."""
    of = asked_sizes(name, study, model, unit)
    method, share = method_of(name, study), DISTINCT.get(unit.form, 1)
    if kind == "folds":
        # Texts of one question share their beginning in a forest, and all of them the primer.
        run = forest(of.number, of.prompt + of.answers * of.answer * share, model, of_tokens)
        return run + (forest(run.block_passes / model.layers, of.shared, model, of_tokens) if of.shared else Work())
    behind = max(1.0, of.answers * of.answer * share)
    run = forest(of.texts * of.number, of.prompt, model, of_tokens)
    run += forest(of.texts, of.shared, model, of_tokens) if of.shared else Work()
    blocks = 0 if method.site == "prompt" else _blocks(method, model.layers)
    through = of.number * (of.texts * behind * model.layers + of.edits * (of.anew + behind) * blocks)
    passes = of.number * of.texts * math.ceil((1 + of.edits) * (of.anew + behind) / budget)
    seen = of.shared + of.prompt + behind
    run += Work(through, through * seen, block_passes=passes * model.layers)
    if method.site not in ("prompt", "logits"):
        run += compared(of.number, of.shared + of.prompt + of.answer, of.edits, model)
    return run + unembedding((1 + of.edits) * behind, of.number * of.texts, model, SOFTMAX, slices)
