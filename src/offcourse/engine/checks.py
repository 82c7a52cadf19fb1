"""The engine's self-check: its states against plain forwards, on every model before the model makes a result.

A plain forward computes one edit, prompt or continuation at a time with the class's own attention. Both computations
round, so their states differ a little. `engine.rounding` measures how far rounding alone moves this model's states (the
rounding floor). A correct engine stays within a few times this floor, in float32 as in half precision.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from offcourse.engine.rounding import Edit, no_edit, plain_states, relative, ways_apart
from offcourse.engine.rows import HeadRows, ResidualRows
from offcourse.engine.run import Engine
from offcourse.models.load import LanguageModel

# The largest accepted error, as a multiple of the rounding floor (docs/engine.md: errors of healthy and damaged
# models).
TIMES_FLOOR = 4.0
# The largest accepted relative error, whatever the floor is. A larger error is not rounding, or leaves no useful
# number.
LIMITS = {torch.float32: 1e-4, torch.bfloat16: 0.25, torch.float16: 0.25}


@dataclass(frozen=True)
class Case:
    """One state to compare: how the plain model computes it, and the engine's values from passes of different sizes.

    ids: token ids of the prompt. edit: the change at the prompt's last token. found: the engine's states, [width] each.
    """

    ids: list[int]
    edit: Edit
    found: list[Tensor]


@dataclass(frozen=True)
class Comparison:
    """Largest relative error of the engine's states, rounding floor of the plain model, and largest accepted error."""

    error: float
    floor: float
    limit: float

    def report(self) -> dict:
        """The entry of `model.json`. An error that is NaN does not pass."""
        return {"passed": self.error <= self.limit, "error": self.error, "floor": self.floor, "limit": self.limit}


ROWS_OF_STATES = "rows with an edited state equal one forward per edit"
ROWS_OF_HEADS = "rows with a replaced head equal one forward per head"
ROWS_OF_PROMPTS = "rows of several prompts equal one forward per prompt and edit"
FORESTS = "prompts that share a beginning equal one forward each"
CONTEXTS = "continuations of a kept context equal one forward each"


@torch.inference_mode()
def engine_agrees(engine: Engine, prompt: Sequence[int]) -> dict[str, dict]:
    """Compare every kind of pass that a study makes with plain forwards; {check: passed, error, floor, limit}.

    prompt: token ids, at least eight. Errors are relative: the norm of a state's difference over the norm of the state,
    the largest of all states compared.
    """
    prompt = list(prompt)
    kinds = {
        ROWS_OF_STATES: _residual_rows,
        ROWS_OF_HEADS: _head_rows,
        ROWS_OF_PROMPTS: _rows_of_prompts,
        FORESTS: _forest,
        CONTEXTS: _context,
    }
    cases = {name: list(of(engine, prompt)) for name, of in kinds.items()}
    return {name: found.report() for name, found in compare(engine.model, cases).items()}


def compare(model: LanguageModel, cases: Mapping[str, Sequence[Case]]) -> dict[str, Comparison]:
    """Compare the engine's states with plain forwards of the cases' prompts and edits: {kind of case: comparison}.

    All kinds share one floor, the largest over all cases, since more prompts make the floor steadier.
    """
    errors, floor = {}, 0.0
    for name, of_kind in cases.items():
        errors[name] = 0.0
        for number, case in enumerate(of_kind):
            expected = plain_states(model, [case.ids], case.edit)[0, -1]
            errors[name] = max([errors[name], *(relative(state, expected) for state in case.found)])
            # A batch takes as long as all its prompts together, so only the first case is also computed in a batch.
            ways = ways_apart(model, case.ids, case.edit, seed=number, batch=number == 0)
            floor = max([floor, *(relative(state, expected) for state in ways)])
    limit = min(TIMES_FLOOR * floor, LIMITS[model.module.dtype])
    return {name: Comparison(error, floor, limit) for name, error in errors.items()}


def _cut(engine: Engine, most: int) -> tuple[Engine, Engine]:
    """The engine, and a copy whose passes hold at most `most` rows or tokens, so that one case takes several passes."""
    return engine, Engine(engine.model, most, "eager" if engine.explicit else "sdpa")


def _residual_rows(engine: Engine, prompt: list[int]) -> Iterator[Case]:
    """Cases of edited residual streams: a vector added after the first, a middle and the last block, zero, replaced."""
    model = engine.model
    first, middle, last = 0, model.layers // 2, model.layers - 1
    # A vector as large as the stream itself neither vanishes in the sum nor drowns the stream.
    stream = engine.capture_residuals([prompt])[0, middle]
    random = torch.randn(2, model.width, generator=torch.Generator().manual_seed(0))
    vectors = torch.cat([random * stream.square().mean().sqrt(), torch.zeros(1, model.width)])
    for replace, cells in ((False, ((first, 0), (middle, 1), (last, 0), (middle, 2))), (True, ((middle, 0),))):
        rows = ResidualRows(vectors, model.layers, replace)
        found = [
            some.row_states([prompt], rows)[0, 1:].unflatten(0, (model.layers, len(vectors)))
            for some in _cut(engine, model.layers + 1)
        ]
        for layer, index in cells:
            edit = after_block(model, layer, vectors[index], replace)
            yield Case(prompt, edit, [states[layer, index] for states in found])


def _head_rows(engine: Engine, prompt: list[int]) -> Iterator[Case]:
    """Cases of replaced heads: by a neighbouring head's output, and by the head's own output, which changes nothing."""
    model = engine.model
    own = engine.capture_heads([prompt], [len(prompt) - 1])[0]
    first, middle, last = (0, 0), (model.layers // 2, model.heads - 1), (model.layers - 1, model.heads // 2)
    for values, cells in ((own.roll(1, 1), (first, middle, last)), (own, (middle,))):
        found = [
            some.row_states([prompt], HeadRows(values))[0, 1:].unflatten(0, (model.layers, model.heads))
            for some in _cut(engine, model.layers * model.heads // 3 + 1)
        ]
        for layer, head in cells:
            edit = in_head(model, layer, head, values[layer, head])
            yield Case(prompt, edit, [states[layer, head] for states in found])


def _rows_of_prompts(engine: Engine, prompt: list[int]) -> Iterator[Case]:
    """Cases of three prompts of different lengths in one pass: a replaced head, no edit, each prompt's own state."""
    model = engine.model
    cut = len(prompt) // 2
    prompts = [prompt[: cut + 1], prompt, prompt[:cut] + prompt[: len(prompt) - cut - 1]]
    middle = model.layers // 2
    values = engine.capture_heads([prompt], [len(prompt) - 1])[0].roll(1, 1)
    heads = _states_of_rows(engine, prompts, HeadRows(values, unedited=1))[:, 1:]
    heads = heads.unflatten(1, (model.layers, model.heads + 1))[:, middle]
    streams = engine.capture_residuals(prompts).roll(1, 0)
    own = _states_of_rows(engine, prompts, ResidualRows(streams[:, :, None], model.layers, replace=True))[:, 1 + middle]
    for index, ids in enumerate(prompts):
        yield Case(ids, in_head(model, middle, 0, values[middle, 0]), [heads[index, 0]])
        yield Case(ids, no_edit, [heads[index, -1]])
        yield Case(ids, after_block(model, middle, streams[index, middle], True), [own[index]])


def _states_of_rows(engine: Engine, prompts: list[list[int]], rows: HeadRows | ResidualRows) -> Tensor:
    """[prompts, 1 + rows, width], see `Engine.row_states`. Prompts go alone if the rows of one take several passes.

    That is so of a large model (80 layers of 64 heads), or with a small `max_rows`.
    """
    count = sum(rows.begins(layer) for layer in range(engine.model.layers + 1))
    step = len(prompts) if count <= engine.max_rows else 1
    parts = [slice(start, start + step) for start in range(0, len(prompts), step)]
    return torch.cat([engine.row_states(prompts[part], rows.of_prompts(part)) for part in parts])


def _forest(engine: Engine, prompt: list[int]) -> Iterator[Case]:
    """Cases of prompts with a common beginning, run in one pass and in several. One prompt begins another."""
    cut = len(prompt) // 2
    prompts = [prompt, prompt[: cut + 1], prompt[:cut] + prompt[: len(prompt) - cut]]
    found = [_last_states(some, prompts) for some in _cut(engine, len(prompt))]
    for ids, *states in zip(prompts, *found, strict=True):
        yield Case(ids, no_edit, states)


def _context(engine: Engine, prompt: list[int]) -> Iterator[Case]:
    """Cases of two continuations of a kept context; the context is run whole and in pieces."""
    cut = len(prompt) // 2
    prompts = [prompt, prompt[:cut] + prompt[: len(prompt) - cut]]
    found = [_last_states(some, prompts, some.keep(prompt[:cut])) for some in _cut(engine, max(2, cut // 2))]
    for ids, *states in zip(prompts, *found, strict=True):
        yield Case(ids, no_edit, states)


def _last_states(engine: Engine, prompts: list[list[int]], context=None) -> list[Tensor]:
    """[width] of the last token of each prompt, final-normed."""
    parts = engine.states(prompts, [[len(ids) - 1] for ids in prompts], [], context)
    return [part.final[row[0]] for part in parts for row in part.where]


def after_block(model: LanguageModel, layer: int, vector: Tensor, replace: bool) -> Edit:
    """An edit: add `vector` [width] to the last token's state after a block, or put it in the state's place."""

    def hook(module, args, out):
        hidden = (out[0] if isinstance(out, tuple) else out).clone()
        hidden[0, -1] = vector.to(hidden) if replace else hidden[0, -1] + vector.to(hidden)
        return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

    return lambda: [model.blocks[layer].register_forward_hook(hook)]


def in_head(model: LanguageModel, layer: int, head: int, value: Tensor) -> Edit:
    """An edit: replace one head's output at the last token by `value` [head_dim]."""

    def hook(module, args):
        heads = args[0].clone()
        size = heads.shape[2] // model.heads
        heads[0, -1, head * size : (head + 1) * size] = value[:size].to(heads)
        return (heads, *args[1:])

    return lambda: [model.projections[layer].register_forward_pre_hook(hook)]
