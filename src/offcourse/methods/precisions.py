"""Step `{method}_precisions`: how far a steering method's result depends on the precision that it is computed in.

In each of the section's `precisions` the model is loaded, the vectors are built again, and every item is tested in the
setting that is best in the method's own sweep. The study's own precision has the study's own vectors.
"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from offcourse.data.rows import Task
from offcourse.engine.edit_checks import require_agreement
from offcourse.engine.together import hits_together
from offcourse.errors import OffcourseError
from offcourse.methods.contract_checks import vectors_of
from offcourse.methods.reliability import cosines
from offcourse.methods.side_effects import best_setting, chosen_edit
from offcourse.methods.steering import configured
from offcourse.schemas.function_vectors import STEERING_PRECISIONS
from offcourse.schemas.io import as_table


def compute(context, task: Task) -> pd.DataFrame:
    """One row per precision and item, under `STEERING_PRECISIONS`. The study's own precision comes first.

    Raises `OffcourseError` for a precision in which vectors are not finite.
    """
    [name] = context.step.methods
    setting, own = best_setting(context, task), context.tensors(name, task)["vectors"]
    prompts, found = context.prompts(task, "query"), {}
    for dtype, there in context.in_precisions(context.parameters["precisions"]):
        vectors = own if there is context else built(there, task, dtype)
        sets = configured(there).layer_sets(there.engine.model.layers)
        # Of vectors, not of edits: an edit leaves out layers to which zero is added.
        layers = list(next(some for some in sets if min(some) == setting[1]))
        alike = cosines(torch.stack([own[layers].flatten(), vectors[layers].flatten()]))[0]
        hits = _hits(there, task, prompts, setting, vectors)
        rows = [(dtype, *setting, item, hit, alike) for item, hit in zip(prompts["index"], hits, strict=True)]
        found = {dtype: rows} | found if there is context else found | {dtype: rows}
    first = next(iter(found))
    order = [first, *sorted(found.keys() - {first})]
    return as_table([row for dtype in order for row in found[dtype]], STEERING_PRECISIONS)


def built(context, task: Task, dtype: str) -> Tensor:
    """The vectors that the context's model gives, float32, of the shape of the method's own.

    dtype: the model's precision, for messages. Raises `OffcourseError` for vectors that are not finite in it, and as
    `vectors_of` does.
    """
    [name] = context.step.methods
    method = configured(context)

    def build():
        vectors = method.build(context, task)
        # What is no tensor of real numbers is refused below, whatever the precision.
        found = torch.as_tensor(vectors) if isinstance(vectors, Tensor | np.ndarray) else torch.zeros(0)
        if found.is_floating_point() and not found.is_meta and not torch.isfinite(found.float()).all():
            raise OffcourseError(
                f"{name}.precisions: vectors of {context.model} on {task.name} are not finite in {dtype}, whose "
                f"largest number is {torch.finfo(getattr(torch, dtype)).max:g}. Leave {dtype} out of {name}.precisions."
            )
        return vectors

    what = f"{name} on {task.name}: build (in {dtype})"
    return vectors_of(method, context.engine.model, build, what, name, draw=context.draw)


def _hits(context, task: Task, prompts: pd.DataFrame, setting: tuple[float, int], vectors: Tensor) -> list[bool]:
    """Whether each item is answered in one setting. vectors: float32."""
    [name] = context.step.methods
    edits, ids = [chosen_edit(context, task, *setting, vectors)], list(prompts["token_ids"])
    # The method's sweep has compared the edits of the study's own precision alone.
    what = f"{context.model}, {name} on {task.name} in another precision"
    require_agreement(context.engine, ids, edits, what, together=True)
    return hits_together(context.engine, ids, list(prompts["target_id"]), edits)[:, 0].tolist()
