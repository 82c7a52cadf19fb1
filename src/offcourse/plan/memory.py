"""Bytes that a step's largest pass takes beside the weights, from the study's grid and the model's shape."""

import math

from offcourse.data.rows import Model
from offcourse.graph.steps import part_of
from offcourse.models import footprint
from offcourse.plan.costs import compared
from offcourse.plan.passes import (
    CHECKED,
    CPU_SLICES,
    FV_DEMONSTRATION,
    FV_QUERY,
    MARKUP,
    PROSE,
    TV_QUERY,
    beginning,
    sizes,
    together,
)
from offcourse.plan.steering_costs import aside, asked_sizes, method_of, swept_edits
from offcourse.study.config import Study

# The answers of the longest question are this many times as long together as those of an average question.
LONGEST = 3
# Logits that are held at once when answers are scored (`engine.edited`).
LOGIT_BYTES = 64 << 20
# Copies of DoLa's candidate states: as captured in the pass, and joined for the matrix product.
TAKEN = 2


def workspace(step: str, study: Study, model: Model, unit, size: int, rows: int, tokens: int, device: str) -> float:
    """Bytes of the largest pass of a step for one unit (task or question set). study: sized for the model.

    size: bytes of a number of the model's precision. rows, tokens: the engine's budgets. device: "gpu" or "cpu".
    """
    vectors, layers = study.function_vectors, model.layers
    # Of each layer one row has no edit.
    shots, heads = vectors.shots * FV_DEMONSTRATION + FV_QUERY, layers * (model.heads + 1)

    def passes(prompt: int, grid: int, items: int, probability: bool = False) -> float:
        prompts = together(items, prompt, grid, rows)
        if prompts > 1:
            passing = footprint.of_pass(model, size, prompts * prompt, prompts * grid, prompts=prompts)
        else:
            passing = footprint.of_pass(model, size, prompt, min(rows, grid), grid=grid + 1)
        # On a CPU the states of one prompt are read at a time.
        return max(passing, _read_out(model, size, prompts * (grid + 1), probability, device))

    if step == "check_model":
        return passes(CHECKED, heads, 1, probability=True)
    if step == "cie":
        return passes(shots, heads, vectors.trials, probability=True)
    if step in ("fv_sweep", "fv_controls"):
        swept = passes(FV_QUERY, layers * len(vectors.n_heads) * len(vectors.strengths), vectors.test_items)
        return swept if step == "fv_sweep" else max(swept, passes(shots, heads, vectors.trials, probability=True))
    if step == "tv_sweep":
        return passes(TV_QUERY, layers, study.task_vectors.test_items, probability=True)
    method, part = part_of(step)
    if part in ("sweep", "controls"):
        edits, tokens = swept_edits(method_of(method, study), getattr(study, method).strengths, layers)
        return passes(FV_QUERY, edits * tokens, vectors.test_items)
    if part == "answers":
        of = asked_sizes(method, study, model, unit)
        behind = math.ceil(of.anew + LONGEST * of.answers * of.answer)
        context = math.ceil(of.shared + of.prompt)
        edited = max(behind, min(tokens, behind * (1 + of.edits)))
        passing = footprint.of_pass(model, size, edited, 0, context=context)
        logits = footprint.FLOAT32 * model.vocabulary + LOGIT_BYTES
        return footprint.of_context(model, size, context) + passing + logits
    if step == "dola":
        return _dola(study, model, unit, size, tokens, device)
    forest = footprint.of_pass(model, size, tokens, 0)
    if step in ("logit_lens", "apathy"):
        _, characters, _, _ = sizes(unit, study.logit_lens.limit)
        prompts = math.ceil(tokens * MARKUP / characters)
        # First the inputs of blocks and the outputs of attention and feed-forward; then one layer's logits of all
        # words.
        taken = footprint.of_states(model, size, prompts, 3 * layers)
        return taken + max(forest, footprint.of_whole_logits(model, size, prompts))
    if part == "side_effects":
        # The logits of a passage's states are there at once, with the edit and without.
        states = math.ceil(max(read for *_, read in aside(method, study)))
        return forest + footprint.of_whole_logits(model, size, states)
    if step in ("icl", "tv_icl"):
        return max(forest, _read_out(model, size, tokens, True, device))
    return forest


def _read_out(model: Model, size: int, states: int, probability: bool, device: str) -> float:
    if device == "gpu":
        return footprint.of_read_out(model, size, states, probability)
    # On a CPU slices take a few megabytes, which are not counted.
    return size * states * model.width


def _dola(study: Study, model: Model, unit, size: int, tokens: int, device: str) -> float:
    """Bytes of DoLa's largest pass: the beginning, or a question with its answers and their states at every layer."""
    _, question, answers, answer = sizes(unit, study.dola.limit)
    context, asked = math.ceil(beginning(unit)), math.ceil(question / PROSE)
    states = min(tokens, math.ceil(LONGEST * answers * answer / PROSE))
    layers = compared(study, model)
    logits = footprint.of_contrast(
        footprint.FLOAT32 * layers * states * model.vocabulary,
        study.protocol.dola_divergence,
        footprint.SLICE if device == "gpu" else CPU_SLICES.contrast,
    )
    passing = max(
        footprint.of_pass(model, size, min(tokens, context), 0),
        footprint.of_pass(model, size, min(tokens, asked + states), 0, context=context),
    )
    taken = TAKEN * footprint.of_states(model, size, states, layers)
    return footprint.of_context(model, size, context + asked) + taken + max(passing, logits)
