"""The self-check of the plain path: its batches against forwards and blocks that are called one by one.

An edit is computed a second time without the hooks that the plain path edits with: the unedited prompt runs once, and
the blocks behind the edit are called by hand, with the arguments that they had in that run.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from offcourse.engine.checks import LIMITS, TIMES_FLOOR, Case, Comparison, after_block, compare, in_head
from offcourse.engine.plain import PlainEngine
from offcourse.engine.rounding import no_edit, relative
from offcourse.engine.rows import HeadRows, ResidualRows
from offcourse.models.plain import PlainModel

BATCHES_OF_STATES = "edits of the state in a batch equal one forward per edit"
BATCHES_OF_HEADS = "replaced heads in a batch equal one forward per head"
BATCHES_OF_PROMPTS = "prompts of one length in a batch equal one forward each"
POSITIONS = "states within a prompt equal one forward per beginning"
BY_HAND = "an edit equals the blocks behind it, called one by one"


@torch.inference_mode()
def plain_agrees(engine: PlainEngine, prompt: Sequence[int]) -> dict[str, dict]:
    """Compare what a study asks of the plain path with single forwards; {check: passed, error, floor, limit}.

    prompt: token ids, at least eight. Errors are relative, as in `engine.checks.engine_agrees`.
    """
    prompt = list(prompt)
    kinds = {BATCHES_OF_STATES: _states, BATCHES_OF_PROMPTS: _prompts, POSITIONS: _positions}
    if engine.model.projections:
        kinds[BATCHES_OF_HEADS] = _heads
    found = compare(engine.model, {name: list(of(engine, prompt)) for name, of in kinds.items()})
    floor = max(each.floor for each in found.values())
    limit = min(TIMES_FLOOR * floor, LIMITS[engine.model.module.dtype])
    found[BY_HAND] = Comparison(_by_hand(engine, prompt), floor, limit)
    return {name: each.report() for name, each in found.items()}


def _sizes(engine: PlainEngine, prompt: list[int]) -> list[PlainEngine]:
    """The engine, and one whose batches hold three prompts, so that edits take several."""
    small = PlainEngine(engine.model, 3 * len(prompt), "float32" if engine.wide else "model", engine.why)
    return [engine, small]


def _vectors(engine: PlainEngine, prompt: list[int]) -> Tensor:
    """[edits, width]: two random vectors about as large as the stream, and zero."""
    model = engine.model
    stream = engine.capture_residuals([prompt])[0, model.layers // 2]
    random = torch.randn(2, model.width, generator=torch.Generator().manual_seed(0))
    return torch.cat([random * stream.square().mean().sqrt(), torch.zeros(1, model.width)])


def _cells(model: PlainModel) -> tuple:
    first, middle, last = 0, model.layers // 2, model.layers - 1
    return (False, ((first, 0), (middle, 1), (last, 0), (middle, 2))), (True, ((middle, 0),))


def _found(engines: Sequence[PlainEngine], prompt: list[int], vectors: Tensor, replace: bool) -> list[Tensor]:
    rows = ResidualRows(vectors, engines[0].model.layers, replace)
    shape = engines[0].model.layers, len(vectors)
    return [some.row_states([prompt], rows)[0, 1:].unflatten(0, shape) for some in engines]


def _states(engine: PlainEngine, prompt: list[int]) -> Iterator[Case]:
    vectors = _vectors(engine, prompt)
    for replace, cells in _cells(engine.model):
        found = _found(_sizes(engine, prompt), prompt, vectors, replace)
        for layer, index in cells:
            edit = after_block(engine.model, layer, vectors[index], replace)
            yield Case(prompt, edit, [states[layer, index] for states in found])


def _heads(engine: PlainEngine, prompt: list[int]) -> Iterator[Case]:
    """Cases of replaced heads: by a neighbouring head's output, and by the head's own output, which changes nothing."""
    model = engine.model
    own = engine.capture_heads([prompt], [len(prompt) - 1])[0]
    first, middle, last = (0, 0), (model.layers // 2, model.heads - 1), (model.layers - 1, model.heads // 2)
    for values, cells in ((own.roll(1, 1), (first, middle, last)), (own, (middle,))):
        found = [
            some.row_states([prompt], HeadRows(values))[0, 1:].unflatten(0, (model.layers, model.heads))
            for some in _sizes(engine, prompt)
        ]
        for layer, head in cells:
            edit = in_head(model, layer, head, values[layer, head])
            yield Case(prompt, edit, [states[layer, head] for states in found])


def _prompts(engine: PlainEngine, prompt: list[int]) -> Iterator[Case]:
    """Cases of four prompts of two lengths, each with an edit by zero."""
    cut = len(prompt) // 2
    prompts = [prompt, prompt[: cut + 1], prompt[::-1], prompt[-cut - 1 :]]
    rows = ResidualRows(torch.zeros(1, engine.model.width), engine.model.layers)
    found = [some.row_states(prompts, rows) for some in _sizes(engine, prompt)]
    for index, ids in enumerate(prompts):
        yield Case(ids, no_edit, [states[index, row] for states in found for row in (0, 1, -1)])


def _positions(engine: PlainEngine, prompt: list[int]) -> Iterator[Case]:
    """Cases of states at several positions: each must be the last state of the prompt that ends there."""
    places = [len(prompt) // 2, len(prompt) - 1]
    [part] = engine.states([prompt, prompt[: places[0] + 1]], [places, places[:1]], [], engine.keep(prompt[:2]))
    for place, row in zip(places, part.where[0], strict=True):
        yield Case(prompt[: place + 1], no_edit, [part.final[row]])


def _by_hand(engine: PlainEngine, prompt: list[int]) -> float:
    """The largest relative error of edited states against the blocks behind the edit, called one by one."""
    model, vectors = engine.model, _vectors(engine, prompt)
    asked: dict[int, tuple] = {}
    out: dict[int, Tensor] = {}
    handles = []
    for layer, block in enumerate(model.blocks):

        def note(module, args, kwargs, found, layer=layer):
            asked[layer] = args, kwargs
            out[layer] = (found[0] if isinstance(found, tuple) else found).clone()

        handles.append(block.register_forward_hook(note, with_kwargs=True))
    try:
        model.forward(torch.tensor([prompt]))
    finally:
        for handle in handles:
            handle.remove()
    errors = []
    for replace, cells in _cells(model):
        [found] = _found([engine], prompt, vectors, replace)
        for layer, index in cells:
            hidden = out[layer].clone()
            vector = vectors[index].to(hidden)
            hidden[0, -1] = vector if replace else hidden[0, -1] + vector
            for behind in range(layer + 1, model.layers):
                args, kwargs = asked[behind]
                given = ((hidden, *args[1:]), kwargs) if args else ((), {**kwargs, "hidden_states": hidden})
                result = model.blocks[behind](*given[0], **given[1])
                hidden = result[0] if isinstance(result, tuple) else result
            errors.append(relative(found[layer, index], model.normed(hidden)[0, -1]))
    return max(errors)
