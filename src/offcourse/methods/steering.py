"""The steps of a steering method (`offcourse.steering`): its vectors, and their sweep over layers and strengths."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from offcourse.data.rows import Task
from offcourse.engine import ResidualRows
from offcourse.engine.edit_checks import require_agreement
from offcourse.engine.edited import read_edited
from offcourse.engine.edits import Edit, OperationRows
from offcourse.errors import OffcourseError
from offcourse.steering import steering
from offcourse.steering.contract import SteeringMethod


def vectors(context, task: Task) -> tuple[dict[str, np.ndarray], dict]:
    """({`vectors`: float32, see `SteeringMethod.build`}, notes) from the method's `build`.

    Raises `OffcourseError` for another shape, or for numbers that are not finite.
    """
    [name] = context.step.methods
    method = configured(context)
    built, what = method.build(context, task), f"{name} on {task.name}: build"
    return {"vectors": require_shape(method, context.engine.model, built, what, name)}, {"method": name}


def require_shape(method: SteeringMethod, model, built, what: str, name: str) -> np.ndarray:
    """The vectors that a method built, as float32.

    what: how messages name the function that built them. name: the method's module.
    Raises `OffcourseError` for another shape, or for numbers that are not finite.
    """
    built = torch.as_tensor(built)
    asked, wanted = _shape(method, model)
    fits = built.dim() == len(wanted) and all(
        size in (None, have) for size, have in zip(wanted, built.shape, strict=True)
    )
    if not fits or 0 in built.shape or not torch.isfinite(built).all():
        raise OffcourseError(
            f"{what} must return finite vectors {asked}, got {list(built.shape)}"
            + (", some of which are not finite" if fits and 0 not in built.shape else "")
            + f". Correct src/offcourse/steering/{name}.py."
        )
    return built.float().contiguous().cpu().numpy()


def sweep(context, task: Task) -> pd.DataFrame:
    """One row per strength, edit and item, on the 0-shot queries of function vectors (`STEERING_SWEEP`).

    `layer` is the lowest layer that an edit changes.
    """
    [name] = context.step.methods
    return swept(context, task, context.tensors(name, task)["vectors"])


def swept(context, task: Task, vectors: Tensor) -> pd.DataFrame:
    """The sweep of some vectors, in float32 and of the shape of the method's own."""
    [name] = context.step.methods
    method, strengths = configured(context), context.parameters["strengths"]
    sets = method.layer_sets(context.engine.model.layers)
    # As for function vectors, a vector is cast to the model's dtype before it is multiplied by the strength.
    built = vectors.to(context.engine.model.module.dtype)
    values = torch.stack([method.apply(built, strength) for strength in strengths], 1)
    prompts, edited = context.prompts(task, "query"), edits(method, values, sets)
    if isinstance(edited, list):
        # What the self-checks at load compare are rows.
        require_agreement(context.engine, list(prompts["token_ids"]), edited, f"{context.model}, {name} on {task.name}")
    found = tqdm(
        _hits(context, method, prompts, edited),
        desc=f"{name} {task.name}",
        total=len(prompts),
        leave=False,
        disable=None,
    )
    hits = torch.stack(list(found)).cpu()
    grid = hits.view(len(prompts), len(sets), len(strengths)).permute(2, 1, 0)
    return _table(grid, strengths, [min(layers) for layers in sets], prompts)


def asked(context, task: Task) -> pd.DataFrame:
    """One row per strength and item of a method that changes the prompt (`STEERING_SWEEP`); `layer` is always 0."""
    method, strengths, prompts = configured(context), context.parameters["strengths"], context.prompts(task, "query")
    targets = prompts["target_id"].tolist()
    found = [context.engine.read(method.ask(context, task, strength), targets).hit for strength in strengths]
    return _table(torch.stack(found)[:, None], strengths, [0], prompts)


def configured(context) -> SteeringMethod:
    """The method of the context's step, as the study configures it."""
    [name] = context.step.methods
    return steering(name).configured(getattr(context.study, name), context.layout.base)


def operation(method: SteeringMethod) -> str:
    """The method's operation, a key of `engine.edits.OPERATIONS`."""
    return "replace" if method.replace else method.operation


def edits(method: SteeringMethod, values: Tensor, sets: list[tuple[int, ...]]) -> ResidualRows | list[Edit]:
    """The edits of a sweep, ordered by layer set, then by strength.

    values: [layers, strengths, ...], see `SteeringMethod.apply`. Edits of the last token's residual stream at one layer
    each are rows. The last token of a prompt is the only token at which the answer's first token is predicted, so
    edits of the answer are rows here too.
    """
    layers = values.shape[0]
    at_end = method.site == "residual" and method.positions in ("last", "answer")
    if at_end and sets == [(layer,) for layer in range(layers)]:
        if operation(method) in ("add", "replace"):
            return ResidualRows(values, layers, replace=operation(method) == "replace")
        return OperationRows(values, layers, operation=operation(method))
    return edit_list(method, values, sets)


def edit_list(method: SteeringMethod, values: Tensor, sets: list[tuple[int, ...]]) -> list[Edit]:
    """As `edits`, without rows: each edit by itself, at the method's own positions."""
    return [edit_of(method, values[:, strength], some) for some in sets for strength in range(values.shape[1])]


def edit_of(method: SteeringMethod, values: Tensor, some: tuple[int, ...]) -> Edit:
    """The edit of one layer set at one strength. values: [layers, ...], see `SteeringMethod.apply`."""
    mine = {layer: values[layer] for layer in some}
    if operation(method) == "add":
        # A layer to which zero is added need not be run anew for this edit.
        mine = {layer: value for layer, value in mine.items() if value.any()} or {max(mine): mine[max(mine)]}
    return Edit(method.site, operation(method), method.positions, mine)


def _hits(context, method: SteeringMethod, prompts: pd.DataFrame, edits: ResidualRows | list[Edit]) -> Iterator[Tensor]:
    if isinstance(edits, ResidualRows):
        yield from method.scores(context, prompts, edits)
        return
    own = type(method).score is not SteeringMethod.score
    for prompt in prompts.itertuples():
        if own:
            yield method.score(context, prompt, edits)
        else:
            yield read_edited(context.engine, prompt.token_ids, prompt.target_id, edits).hit


def _shape(method: SteeringMethod, model) -> tuple[str, tuple[int | None, ...]]:
    """(the shape of `build`'s result in words, its sizes; None for any size)."""
    if method.site == "heads":
        sizes = (model.layers, model.heads, model.head_dim)
        return f"[layers, heads, head_dim] = {list(sizes)}", sizes
    if method.site == "logits":
        return f"[1, vocabulary] = {[1, model.vocabulary]}", (1, model.vocabulary)
    if method.positions == "first":
        return f"[layers, tokens, width] = [{model.layers}, any, {model.width}]", (model.layers, None, model.width)
    return f"[layers, width] = {[model.layers, model.width]}", (model.layers, model.width)


def _table(grid: Tensor, strengths: list[float], layers: list[int], prompts: pd.DataFrame) -> pd.DataFrame:
    """grid: hits [strengths, edits, items]. layers: the lowest layer of each edit."""
    axes = pd.MultiIndex.from_product(
        [list(map(float, strengths)), layers, prompts["index"].tolist()], names=["strength", "layer", "item"]
    )
    return axes.to_frame(index=False).assign(hit=grid.reshape(-1).numpy())
