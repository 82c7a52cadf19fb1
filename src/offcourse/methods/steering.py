"""The two steps of a steering method (`offcourse.steering`): its vectors, and their sweep over layers and strengths."""

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from offcourse.data.rows import Task
from offcourse.engine import ResidualRows
from offcourse.errors import OffcourseError
from offcourse.steering import steering


def vectors(context, task: Task) -> tuple[dict[str, np.ndarray], dict]:
    """({`vectors`: [layers, width] float32}, notes) from the method's `build`.

    Raises `OffcourseError` for another shape, or for numbers that are not finite.
    """
    [name] = context.step.methods
    built = steering(name).build(context, task)
    model = context.engine.model
    if tuple(built.shape) != (model.layers, model.width) or not torch.isfinite(built).all():
        raise OffcourseError(
            f"{name} on {task.name}: build must return finite vectors [layers, width] = {[model.layers, model.width]}, "
            f"got {list(built.shape)}. Correct src/offcourse/steering/{name}.py."
        )
    return {"vectors": built.float().contiguous().cpu().numpy()}, {"method": name}


def sweep(context, task: Task) -> pd.DataFrame:
    """One row per strength, layer and item, on the 0-shot queries of function vectors (`STEERING_SWEEP`)."""
    [name] = context.step.methods
    method, strengths, layers = steering(name), context.parameters["strengths"], context.engine.model.layers
    # As for function vectors, a vector is cast to the model's dtype before it is multiplied by the strength.
    built = context.tensors(name, task)["vectors"].to(context.engine.model.module.dtype)
    edits = torch.stack([method.apply(built, strength) for strength in strengths], 1)
    rows = ResidualRows(edits, layers, replace=method.replace)
    prompts = context.prompts(task, "query")
    found = tqdm(
        method.scores(context, prompts, rows), desc=f"{name} {task.name}", total=len(prompts), leave=False, disable=None
    )
    hits = torch.stack(list(found)).cpu()
    axes = pd.MultiIndex.from_product(
        [strengths, range(layers), prompts["index"].tolist()], names=["strength", "layer", "item"]
    )
    grid = hits.view(len(prompts), layers, len(strengths)).permute(2, 1, 0)
    return axes.to_frame(index=False).assign(hit=grid.reshape(-1).numpy())
