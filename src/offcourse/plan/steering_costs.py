"""The work of the steps of a steering method beyond the paper's (`offcourse.steering`), part by part (`part_of`)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
from offcourse.steering.contract import SteeringMethod
from offcourse.study.config import Study

# Tokens of a neutral passage and of its continuation, means over the passages with a tokenizer of 49,152 words.
PASSAGE, CONTINUATION = 49, 36


def swept_edits(method: SteeringMethod, strengths: Sequence[float], layers: int) -> tuple[int, int]:
    """(edits of an item's sweep, tokens of the item that each of them computes anew)."""
    whole = method.positions not in ("last", "answer")
    return len(method.layer_sets(layers)) * len(strengths), FV_QUERY if whole else 1


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
        return _drawn(name, study, model, budget, of_tokens, slices)
    if part == "precisions":
        return _in_precision(study, model, of_tokens, budget, slices)
    if part == "side_effects":
        return _aside(name, study, model, of_tokens, slices)
    return _asked(name, part, study, model, unit, budget, of_tokens, slices)


def _swept(name: str, study: Study, model: Model, budget: int, of_tokens: int, slices: Slices) -> Work:
    """The work of the sweep of a steering method for one task."""
    method, settings, items = steering(name), getattr(study, name), study.function_vectors.test_items
    edits, tokens = swept_edits(method, settings.strengths, model.layers)
    if method.site == "prompt":
        count, shots = method.passes(settings, study.function_vectors.shots, items)
        run = forest(count, shots * FV_DEMONSTRATION + FV_QUERY, model, of_tokens)
        return run + unembedding(count, 1, model, SOFTMAX, slices)
    # An edit of one layer goes through the blocks above, one of all layers through all.
    blocks = model.layers if method.together else (model.layers - 1) / 2
    run = rows(items, FV_QUERY, edits * tokens, blocks, model, budget)
    return run + hits(edits + 1, items, FV_QUERY, model, budget, slices)


def _drawn(name: str, study: Study, model: Model, budget: int, of_tokens: int, slices: Slices) -> Work:
    """The work of the further draws of a steering method: its vectors again, and one edit of every item for each."""
    draws, vectors = getattr(study, name).draws, study.function_vectors
    count, shots = steering(name).passes(getattr(study, name), vectors.shots, vectors.trials)
    run = forest((draws - 1) * count, shots * FV_DEMONSTRATION + FV_QUERY, model, of_tokens)
    run += forest(vectors.test_items * (1 + draws), FV_QUERY, model, of_tokens)
    return run + hits(draws + 1, vectors.test_items, FV_QUERY, model, budget, slices)


def _in_precision(study: Study, model: Model, of_tokens: int, budget: int, slices: Slices) -> Work:
    """The work of one precision of a steering method without its vectors: one edit of every item, and the item."""
    items = study.function_vectors.test_items
    return forest(items * 2, FV_QUERY, model, of_tokens) + hits(2, items, FV_QUERY, model, budget, slices)


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
    run = Work()
    for texts, tokens, read in aside(name, study):
        if texts:
            run += forest(2 * texts, tokens, model, of_tokens)
            run += unembedding(math.ceil(2 * texts * read), 1, model, SOFTMAX, slices)
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
    method, settings = steering(name), getattr(study, name)
    number, question, answers, answer = sizes(unit, settings.limit)
    shared, prompt = beginning(unit), question / PROSE
    texts, edits, anew = 1, 0, 0.0
    if method.site == "prompt":
        # A demonstration is a question and its best answer.
        texts = 1 + len(settings.strengths)
        prompt += sum(settings.strengths) / texts * (question + answer) / PROSE
    else:
        edits = len(method.layer_sets(model.layers)) * len(settings.strengths)
        anew = 1 if method.positions in ("last", "answer") else shared + prompt
    return AskedSizes(number, shared, prompt, answers, answer / PROSE, edits, anew, number * answers / 2, texts)


def _asked(name: str, kind: str, study: Study, model: Model, unit, budget: int, of_tokens: int, slices: Slices) -> Work:
    """The work of a steering method on one question set: building its vectors (folds), or scoring (answers)."""
    of = asked_sizes(name, study, model, unit)
    method, share = steering(name), DISTINCT.get(unit.form, 1)
    if kind == "folds":
        # Texts of one question share their beginning in a forest, and all of them the primer.
        run = forest(of.number, of.prompt + of.answers * of.answer * share, model, of_tokens)
        return run + (forest(run.block_passes / model.layers, of.shared, model, of_tokens) if of.shared else Work())
    behind = max(1.0, of.answers * of.answer * share)
    run = forest(of.texts * of.number, of.prompt, model, of_tokens)
    run += forest(of.texts, of.shared, model, of_tokens) if of.shared else Work()
    blocks = model.layers if method.together else (model.layers - 1) / 2
    through = of.number * (of.texts * behind * model.layers + of.edits * (of.anew + behind) * blocks)
    passes = of.number * of.texts * math.ceil((1 + of.edits) * (of.anew + behind) / budget)
    seen = of.shared + of.prompt + behind
    run += Work(through, through * seen, block_passes=passes * model.layers)
    return run + unembedding((1 + of.edits) * behind, of.number * of.texts, model, SOFTMAX, slices)
