"""What a steering method returns, held against its contract (`steering.contract`).

A method is somebody's module. What is wrong with its result stops the step with the module's name, before a number is
made of it.
"""

import operator
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from offcourse.errors import OffcourseError
from offcourse.steering.contract import SteeringMethod


def vectors_of(method: SteeringMethod, model, build: Callable[[], Tensor], what: str, name: str, draw: int) -> Tensor:
    """The vectors that `build` returns, float32 on the CPU.

    A method that draws without a key of its own gets the same numbers each time: the generators of torch, numpy and
    Python are seeded with `draw`, which sample of prompts is asked for.
    what: how messages name the function that builds. name: the method's module.

    Raises `OffcourseError` for another shape, for numbers that are not finite in float32 or not real, and for a method
    that writes into the model's weights.
    """
    # A tensor counts how often it was written in place.
    versions = [weight._version for weight in model.module.parameters()]
    with seeded(draw):
        built = build()
    if versions != [weight._version for weight in model.module.parameters()]:
        raise OffcourseError(f"{what} changes weights of the model, which later steps use. {_correct(name)}")
    return require_shape(method, model, built, what, name)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators of torch, numpy and Python inside the block, and put them back behind it."""
    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)


def require_shape(method: SteeringMethod, model, built, what: str, name: str) -> Tensor:
    """The vectors that a method built, float32 on the CPU. Raises `OffcourseError` as `vectors_of` does."""
    asked, wanted = shape_of(method, model)
    if not isinstance(built, Tensor | np.ndarray):
        raise OffcourseError(f"{what} must return finite vectors {asked}, got {type(built).__name__}. {_correct(name)}")
    built = torch.as_tensor(built)
    real = built.is_floating_point() and not built.is_meta
    fits = built.dim() == len(wanted) and all(
        size in (None, have) for size, have in zip(wanted, built.shape, strict=True)
    )
    exact = built.float().contiguous() if real else built
    if not real or not fits or 0 in built.shape or not torch.isfinite(exact).all():
        why = ""
        if not real:
            why = f" of {built.dtype} on {built.device}, which is no floating-point number that can be stored"
        elif fits and 0 not in built.shape:
            why = ", some of which are not finite in float32"
        raise OffcourseError(
            f"{what} must return finite vectors {asked}, got {list(built.shape)}{why}. {_correct(name)}"
        )
    return exact.detach().cpu()


def shape_of(method: SteeringMethod, model) -> tuple[str, tuple[int | None, ...]]:
    """(the shape of `build`'s result in words, its sizes; None for any size)."""
    if method.site == "heads":
        sizes = (model.layers, model.heads, model.head_dim)
        return f"[layers, heads, head_dim] = {list(sizes)}", sizes
    if method.site == "logits":
        return f"[1, vocabulary] = {[1, model.vocabulary]}", (1, model.vocabulary)
    if method.positions == "first":
        return f"[layers, tokens, width] = [{model.layers}, any, {model.width}]", (model.layers, None, model.width)
    return f"[layers, width] = {[model.layers, model.width]}", (model.layers, model.width)


def sets_of(method: SteeringMethod, layers: int, name: str) -> list[tuple[int, ...]]:
    """`layer_sets` of a method. Raises `OffcourseError` for sets that no sweep can tell apart, or of no such layer."""
    sets = list(method.layer_sets(layers))
    known = range(1 if method.site in ("logits", "prompt") else layers)
    lowest = [min(some) for some in sets if some]
    wrong = [layer for some in sets for layer in some if layer not in known]
    if not sets or len(lowest) != len(sets) or len(set(lowest)) != len(sets) or wrong:
        raise OffcourseError(
            f"{name}: layer_sets({layers}) must return sets of layers from {known[0]} to {known[-1]}, each beginning "
            f"at a layer of its own, got {sets}. {_correct(name)}"
        )
    return sets


def values_of(method: SteeringMethod, built: Tensor, strengths: Sequence[float], name: str) -> Tensor:
    """[layers, strengths, ...]: the values of the edits at each strength. built: vectors in the model's dtype.

    Raises `OffcourseError` for an `apply` that returns another shape.
    """
    found = [method.apply(built, strength) for strength in strengths]
    for strength, values in zip(strengths, found, strict=True):
        if not isinstance(values, Tensor) or values.shape != built.shape:
            got = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise OffcourseError(
                f"{name}: apply at strength {strength:g} must return a tensor {list(built.shape)}, the shape of the "
                f"vectors, got {got}. {_correct(name)}"
            )
    return torch.stack(found, 1)


def require_prompts(found: Sequence[Sequence[int]], items: int, vocabulary: int, name: str) -> list[list[int]]:
    """The prompts that `ask` returned. Raises `OffcourseError` for anything but token ids for each item."""
    try:
        prompts = [[operator.index(token) for token in prompt] for prompt in found]
    except TypeError:
        prompts = []
    known = range(vocabulary)
    if len(prompts) != items or not all(prompt and all(token in known for token in prompt) for prompt in prompts):
        raise OffcourseError(
            f"{name}: ask must return the token ids of a prompt for each of the {items} items, ids below {vocabulary}. "
            f"{_correct(name)}"
        )
    return prompts


def require_hits(found: Tensor, edits: int, name: str) -> Tensor:
    """What `score` returned. Raises `OffcourseError` for anything but a bool for each edit."""
    if not isinstance(found, Tensor) or found.dtype != torch.bool or tuple(found.shape) != (edits,):
        got = f"{list(found.shape)} of {found.dtype}" if isinstance(found, Tensor) else type(found).__name__
        raise OffcourseError(
            f"{name}: score must return a bool for each of the {edits} edits of a sweep, got {got}. {_correct(name)}"
        )
    return found


def _correct(name: str) -> str:
    return f"Correct src/offcourse/steering/{name}.py."
