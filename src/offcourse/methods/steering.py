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
from offcourse.methods.contract_checks import require_hits, require_prompts, sets_of, values_of, vectors_of
from offcourse.steering import steering
from offcourse.steering.contract import SteeringMethod


def vectors(context, task: Task) -> tuple[dict[str, np.ndarray], dict]:
    """({`vectors`: float32, see `SteeringMethod.build`}, notes) from the method's `build`.

    Raises `OffcourseError` for another shape, or for numbers that are not finite.
    """
    [name] = context.step.methods
    return {"vectors": build(context, task).numpy()}, {"method": name}


def build(context, task: Task) -> Tensor:
    """The vectors from the method's `build`, in the context's draw; float32, on the CPU."""
    [name] = context.step.methods
    method = configured(context)
    again = "shuffled labels" if context.shuffled else f"draw {context.draw}" if context.draw else ""
    what = f"{name} on {task.name}: build" + (f" ({again})" if again else "")
    return vectors_of(method, context.engine.model, lambda: method.build(context, task), what, name, draw=context.draw)


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
    sets = sets_of(method, context.engine.model.layers, name)
    # As for function vectors, a vector is cast to the model's dtype before it is multiplied by the strength.
    values = values_of(method, vectors.to(context.engine.model.module.dtype), strengths, name)
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
    hits = torch.stack([require_hits(each, len(sets) * len(strengths), name) for each in found]).cpu()
    grid = hits.view(len(prompts), len(sets), len(strengths)).permute(2, 1, 0)
    return _table(grid, strengths, [min(layers) for layers in sets], prompts)


def asked(context, task: Task) -> pd.DataFrame:
    """One row per strength and item of a method that changes the prompt (`STEERING_SWEEP`); `layer` is always 0."""
    method, strengths, prompts = configured(context), context.parameters["strengths"], context.prompts(task, "query")
    [name] = context.step.methods
    targets, found = prompts["target_id"].tolist(), []
    for strength in strengths:
        texts = method.ask(context, task, strength)
        texts = require_prompts(texts, len(prompts), context.engine.model.vocabulary, name)
        found.append(context.engine.read(texts, targets).hit)
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


def _table(grid: Tensor, strengths: list[float], layers: list[int], prompts: pd.DataFrame) -> pd.DataFrame:
    """grid: hits [strengths, edits, items]. layers: the lowest layer of each edit."""
    axes = pd.MultiIndex.from_product(
        [list(map(float, strengths)), layers, prompts["index"].tolist()], names=["strength", "layer", "item"]
    )
    return axes.to_frame(index=False).assign(hit=grid.reshape(-1).numpy())
