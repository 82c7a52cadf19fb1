"""The work and memory of the plain path: every prompt and every edit of it is a whole forward (`engine.plain`).

Nothing is shared: neither the beginnings of prompts, nor the blocks below an edit. docs/plan.md has the formulae.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

from offcourse.data.architectures import has_heads, path_of
from offcourse.data.names import STEERING
from offcourse.data.rows import Model
from offcourse.graph.steps import part_of
from offcourse.models import footprint
from offcourse.plan.costs import built_again, work
from offcourse.plan.memory import workspace
from offcourse.plan.passes import (
    CHECKED,
    CPU_SLICES,
    FV_DEMONSTRATION,
    FV_QUERY,
    MARKUP,
    PROSE,
    TV_DEMONSTRATION,
    TV_QUERY,
    Slices,
    Work,
    beginning,
    sizes,
)
from offcourse.plan.steering_costs import aside, asked_sizes, method_of, prompts_read, swept_edits
from offcourse.steering import steering
from offcourse.study.config import Study

# Bytes that a layer with a state takes per token and number of its width while it runs, beside attention's: 16 numbers
# of state in float32 for twice the width, held three times (Mamba). Other states are smaller.
STATE_BYTES = 2 * 16 * 4 * 3
# Operations of torch for each token of a prompt in a block with a state, which computes tokens one after the other.
STATE_CALLS = 4
# Copies of attention's scores in float32 while their softmax is computed.
SCORE_TENSORS = 3
# Forwards of a model's self-checks on the plain path.
CHECKS = 70


def is_plain(model: Model) -> bool:
    """Whether a model's class runs on the plain path. A class of no table is planned as one with rows."""
    return path_of(model.architecture) == "plain"


def counted(model: Model) -> Model:
    """The model with 0 heads, and a feed-forward network of width 0, where its row leaves out what its class lacks."""
    if has_heads(model.architecture):
        return model
    return replace(model, heads=0, kv_heads=0, head_dim=0, mlp_width=model.mlp_width or 0)


def whole_work(
    step: str, study: Study, model: Model, unit, rows: int, tokens: int | None = None, slices: Slices = CPU_SLICES
) -> Work:
    """The work of a step for one unit on the plain path; arguments are those of `costs.work`.

    What is read from final states (the unembedding) is read as with rows; the passes through blocks are forwards.
    """
    plain = Work()
    for count, length in forwards(step, study, model, unit):
        plain += passes(count, length, model, tokens or rows)
    read = work(step, study, model, unit, rows, tokens, slices)
    # A forward of the plain path is counted above, so that only the unembedding is taken from the path with rows.
    return plain + Work(
        unembedded=read.unembedded,
        head_passes=read.head_passes,
        slices=read.slices,
        numbers=read.numbers,
        exponentials=read.exponentials,
        reread=read.reread,
    )


def passes(count: float, length: float, model: Model, budget: int) -> Work:
    """The work of `count` forwards of `length` tokens each, as many together as `budget` tokens allow."""
    together = max(1, min(count, budget // length))
    through = count * length * model.layers
    batches = math.ceil(count / together)
    state = 0 if model.heads else STATE_CALLS * batches * length * model.layers
    return Work(through, through * length, block_passes=batches * model.layers, starts=state)


def forwards(step: str, study: Study, model: Model, unit) -> Iterator[tuple[float, float]]:
    """(number of forwards, tokens of each) of a step for one unit, edits included."""
    vectors, tasks, layers = study.function_vectors, study.task_vectors, model.layers
    prompt, behind = vectors.shots * FV_DEMONSTRATION + FV_QUERY, tasks.shots * TV_DEMONSTRATION
    datasets = tasks.dev_items + tasks.test_items
    method, part = part_of(step)
    if step == "icl":
        for shots in range(vectors.shots + 1):
            yield vectors.test_items, shots * FV_DEMONSTRATION + FV_QUERY
    elif step == "head_means":
        yield vectors.trials, prompt
    elif step == "cie":
        yield vectors.trials * (1 + layers * (model.heads + 1)), prompt
    elif step in ("fv_sweep", "fv_controls"):
        edits = layers * len([k for k in vectors.n_heads if k <= layers * model.heads]) * len(vectors.strengths)
        again = vectors.controls_drawn if step == "fv_controls" else 1
        yield vectors.test_items * (1 + edits * again), FV_QUERY
        for read, times in built_again(vectors).items() if step == "fv_controls" else ():
            for _ in range(times):
                yield from forwards(read, study, model, unit)
    elif step in STEERING:
        count, shots = prompts_read(step, study)
        yield count, shots * FV_DEMONSTRATION + FV_QUERY
    elif part == "side_effects":
        for texts, tokens, _ in aside(method, study):
            yield 2 * texts, tokens
    elif part == "draws":
        draws = getattr(study, method).draws
        count, shots = prompts_read(method, study)
        yield (draws - 1) * count, shots * FV_DEMONSTRATION + FV_QUERY
        yield vectors.test_items * (1 + draws), FV_QUERY
    elif part == "precisions":
        yield vectors.test_items * 2, FV_QUERY
    elif part == "controls":
        for _ in range(getattr(study, method).control_sweeps):
            yield from forwards(f"{method}_sweep", study, model, unit)
    elif part == "sweep":
        settings = getattr(study, method)
        if steering(method).site == "prompt":
            count, shots = steering(method).passes(settings, vectors.shots, vectors.test_items)
            yield count, shots * FV_DEMONSTRATION + FV_QUERY
        else:
            yield (
                vectors.test_items * (1 + swept_edits(method_of(method, study), settings.strengths, layers)[0]),
                FV_QUERY,
            )
    elif part:
        of = asked_sizes(method, study, model, unit)
        each = of.shared + of.prompt + of.answer
        yield (2 * of.pairs if part == "folds" else of.number * of.answers * of.texts * (1 + of.edits)), each
    elif step == "tv_icl":
        yield tasks.baseline_items, TV_QUERY
        yield tasks.test_items, behind + TV_QUERY
    elif step == "task_vectors":
        yield datasets * tasks.dummy_queries, behind + TV_QUERY
    elif step == "tv_sweep":
        yield datasets * (1 + layers), TV_QUERY
    elif step == "dola":
        number, question, answers, answer = sizes(unit, study.dola.limit)
        yield number * answers, beginning(unit) + (question + answer) / PROSE
    elif step == "logit_lens":
        number, characters, _, _ = sizes(unit, study.logit_lens.limit)
        yield number, characters / MARKUP


def whole_checking(model: Model) -> Work:
    """The work of a model's self-checks on one short prompt."""
    return passes(CHECKS, CHECKED, model, CHECKED)


def whole_workspace(step: str, study: Study, model: Model, unit, size: int, tokens: int, device: str) -> float:
    """Bytes of the largest batch of a step beside the weights, what is read of its final states included.

    Arguments are those of `memory.workspace`. The class's own attention holds the scores of all heads and tokens at
    once. Of a class with a block that has no heads, the scores are taken to be those of heads of 64.
    """
    lengths = [length for _, length in forwards(step, study, model, unit)] or [CHECKED]
    batch = max(tokens, math.ceil(max(lengths)))
    heads = model.heads or max(1, (model.width or 0) // 64)
    scores = batch * max(lengths) * heads * SCORE_TENSORS * footprint.FLOAT32
    state = 0 if model.heads else batch * (model.width or 0) * STATE_BYTES
    shaped = replace(model, heads=heads, kv_heads=model.kv_heads or heads, head_dim=model.head_dim or 64)
    return workspace(step, study, shaped, unit, size, tokens, batch, device) + scores + state
