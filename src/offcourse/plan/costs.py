"""The work of each step on a model, counted from the registry and the configuration without loading anything.

`plan.passes` says what is counted, `plan.steering_costs` counts the steps of steering methods.
"""

import math

from offcourse.data.names import STEERING
from offcourse.data.rows import Model, QuestionSet, is_large
from offcourse.graph.steps import part_of
from offcourse.models import footprint
from offcourse.plan.passes import (
    CHECKED,
    CHECKS,
    CONTRAST,
    CONTRAST_EXPONENTIALS,
    CONTRAST_MEMORY,
    CPU_SLICES,
    DISTINCT,
    FV_DEMONSTRATION,
    FV_QUERY,
    MARKUP,
    MAXIMUM,
    NORMALISER,
    PROSE,
    SOFTMAX,
    TV_DEMONSTRATION,
    TV_QUERY,
    Slices,
    Work,
    beginning,
    forest,
    hits,
    rows,
    sizes,
    together,
    unembedding,
)
from offcourse.plan.steering_costs import built, steered
from offcourse.schemas.function_vectors import OTHER_HEADS, OTHER_MEANS, READ_POSITION, READ_POSITIONS, REBUILT
from offcourse.study.config import FunctionVectors, Study
from offcourse.study.dola_buckets import candidate_layers


def checking(model: Model) -> Work:
    """The work of a model's self-checks on one short prompt."""
    passes = CHECKS * model.layers
    states = CHECKED * CHECKS
    return Work(token_blocks=CHECKED * passes, block_passes=passes, head_passes=CHECKS, unembedded=states)


def work(
    step: str,
    study: Study,
    model: Model,
    unit,
    budget: int,
    of_tokens: int | None = None,
    slices: Slices = CPU_SLICES,
) -> Work:
    """The work of a step for one unit (task or question set). study: sized for this model (`Study.sized`).

    budget: rows of a pass. of_tokens: tokens of a forest of prompts (None: `budget`).
    """
    of_tokens = of_tokens or budget
    vectors, tasks, layers = study.function_vectors, study.task_vectors, model.layers
    prompt = vectors.shots * FV_DEMONSTRATION + FV_QUERY
    behind = tasks.shots * TV_DEMONSTRATION
    if step == "icl":
        # The prompts of one item are nested: each is a beginning of the longest prompt, and then a query.
        tokens, states = prompt + vectors.shots * FV_QUERY, vectors.test_items * (vectors.shots + 1)
        return forest(vectors.test_items, tokens, model, of_tokens) + unembedding(states, 1, model, SOFTMAX, slices)
    if step == "head_means":
        return forest(vectors.trials, prompt, model, of_tokens)
    if step == "cie":
        # A row begins in the block of its head and goes through this block and all later blocks. Of each layer one row
        # has no edit.
        if model.architecture == "GPTNeoX" and study.protocol.cie_output_bias == "dropped":
            # Without its bias a layer changes the whole prompt, so every layer takes passes of its own.
            passes, per_pass = vectors.trials * layers, model.heads
        else:
            passes, per_pass = vectors.trials, layers * (model.heads + 1)
        run = rows(passes, prompt, per_pass, (layers + 1) / 2, model, budget)
        return run + unembedding(
            per_pass + 1, passes, model, SOFTMAX, slices, together(passes, prompt, per_pass, budget)
        )
    if step in ("fv_sweep", "fv_controls"):
        counts = [k for k in vectors.n_heads if k <= layers * model.heads]
        # The prompts from which controls are built are few compared with the sweep and are not counted.
        edits = len(counts) * len(vectors.strengths) * (vectors.controls_drawn if step == "fv_controls" else 1)
        run = rows(vectors.test_items, FV_QUERY, layers * edits, (layers - 1) / 2, model, budget)
        run += hits(layers * edits + 1, vectors.test_items, FV_QUERY, model, budget, slices)
        for read, times in built_again(vectors).items() if step == "fv_controls" else ():
            for _ in range(times):
                run += work(read, study, model, unit, budget, of_tokens, slices)
        return run
    if step in STEERING:
        return built(step, study, model, of_tokens)
    method, part = part_of(step)
    if part:
        return steered(method, part, study, model, unit, budget, of_tokens, slices)
    if step == "tv_icl":
        items = tasks.baseline_items + tasks.test_items
        tokens = TV_QUERY + tasks.test_items * behind / items
        return forest(items, tokens, model, of_tokens) + unembedding(items, 1, model, MAXIMUM, slices)
    if step == "task_vectors":
        # The dummy queries of one dataset follow shared demonstrations.
        return forest(tasks.dev_items + tasks.test_items, behind + tasks.dummy_queries * TV_QUERY, model, of_tokens)
    if step == "tv_sweep":
        items = tasks.dev_items + tasks.test_items
        run = rows(items, TV_QUERY, layers, (layers - 1) / 2, model, budget)
        return run + unembedding(layers + 1, items, model, MAXIMUM, slices, together(items, TV_QUERY, layers, budget))
    if step == "dola":
        return _dola(study, model, unit, of_tokens, slices)
    if step == "logit_lens":
        number, characters, _, _ = sizes(unit, study.logit_lens.limit)
        run = forest(number, characters / MARKUP, model, of_tokens)
        read = number * (layers + 2)
        numbers = read * model.vocabulary
        whole = Work(
            unembedded=read,
            head_passes=math.ceil(run.block_passes / layers) * (layers + 2),
            numbers=SOFTMAX * numbers,
            exponentials=numbers,
        )
        return run + whole
    return Work()  # no work of its own: apathy is measured in the passes of the logit lens


def built_again(vectors: FunctionVectors) -> dict[str, int]:
    """How often the controls of a study take the steps `head_means` and `cie` again, see `methods.fv_controls`.

    What the study itself has read, draw 0 at its own position, is not taken again; what two controls share is taken
    once.
    """
    asked, again = set(vectors.controls), vectors.build_draws - 1
    # Effects are of means at the same position, so means are read wherever effects are measured.
    effects = bool(asked & {READ_POSITION, OTHER_HEADS}) * (1 + again) + bool(asked & {OTHER_MEANS, REBUILT}) * again
    means = bool(asked & set(READ_POSITIONS)) * (1 + again) + bool(asked & {OTHER_HEADS, OTHER_MEANS, REBUILT}) * again
    return {"head_means": means, "cie": effects}


def _dola(study: Study, model: Model, unit: QuestionSet, budget: int, by: Slices) -> Work:
    number, question, answers, answer = sizes(unit, study.dola.limit)
    lengths = beginning(unit), question / PROSE, answers, answer / PROSE
    removed = study.protocol.dola_mask == "removed" and by.hit_states is None
    alphas = sum(alpha > 0 for alpha in study.dola.alphas) if removed else 0
    return contrasts(number, *lengths, DISTINCT.get(unit.form, 1), compared(study, model), model, budget, by, alphas)


def compared(study: Study, model: Model) -> int:
    """Number of layers whose distributions DoLa computes: all candidates and the mature layer."""
    buckets = candidate_layers(study.dola.buckets, model.layers, is_large(model.parameters or 0))
    return 1 + len({layer for members in buckets.values() for layer in members})


def contrasts(
    number: int,
    beginning: float,
    question: float,
    answers: float,
    answer: float,
    distinct: float,
    layers: int,
    model: Model,
    budget: int,
    by: Slices = CPU_SLICES,
    alphas: int = 0,
) -> Work:
    """The work of DoLa on `number` questions after a shared beginning; each question and its answers are one forest.

    beginning, question, answer: numbers of tokens. answers: answers per question. distinct: share of the answers'
    tokens that answers do not share. layers: candidate layers and the mature layer; every state's distributions are
    computed at all of them. alphas: alphas whose normaliser visits the whole vocabulary.
    """
    tokens = question + answers * answer * distinct
    # One state predicts the first tokens of all answers of a question.
    states = 1 + answers * max(0, answer - 1) * distinct
    together = max(1, footprint.LOGIT_BYTES // (4 * layers * model.vocabulary))
    passes = number * math.ceil(states / together)
    stacked = min(states, together) * layers
    slices = math.ceil(model.vocabulary / max(64, by.contrast // (4 * stacked)))
    read = number * states * layers
    logits = read * model.vocabulary
    through = number * tokens * model.layers
    before = beginning * model.layers
    return Work(
        token_blocks=before + through,
        scores=before * beginning + through * (beginning + min(tokens, budget)),
        unembedded=read,
        block_passes=(number * math.ceil(tokens / budget) + math.ceil(beginning / budget)) * model.layers,
        head_passes=passes,
        slices=(3 + alphas) * passes * slices,
        numbers=(CONTRAST + alphas * NORMALISER) * logits,
        exponentials=(CONTRAST_EXPONENTIALS + alphas) * logits,
        reread=passes * slices * stacked * model.width + CONTRAST_MEMORY * logits,
    )
