"""Step `function_vectors`: the sum of the most effective heads' mean outputs (Eq. 3), for every number of heads."""

import sys

import numpy as np
import torch

from offcourse.data.effects import rank_heads, rounding_floor, within_floor
from offcourse.data.rows import Task
from offcourse.models.find import row_in
from offcourse.models.weights import output_projections
from offcourse.schemas.function_vectors import CIE
from offcourse.schemas.io import read_parquet


def compute(context, task: Task) -> tuple[dict[str, np.ndarray], dict]:
    """({`n_heads={k}`: function vector [width] float32}, notes); the notes list the chosen (layer, head) pairs.

    A k above the model's number of heads is skipped with a message, as in the paper. A message counts the chosen
    heads whose mean effect is no larger than that of a row without an edit. Raises `OffcourseError` if no k is
    left.
    """
    means = context.tensors("head_means", task)["mean"]
    context.study.check_heads(context.model, *means.shape[:2])
    cie = read_parquet(context.input("cie", task), CIE)
    ranking = rank_heads(cie)
    wanted = [k for k in context.parameters["n_heads"] if k <= len(ranking)]
    for k in sorted(set(context.parameters["n_heads"]) - set(wanted)):
        print(f"{context.model}: n_heads {k} is skipped, the model has {len(ranking)} heads", file=sys.stderr)
    within = {k: within_floor(cie, ranking[:k]) for k in wanted}
    if any(within.values()):
        counts = ", ".join(f"{count} of {k}" for k, count in within.items() if count)
        print(
            f"{context.model}, {task.name}: of the chosen heads {counts} have a mean effect within rounding "
            f"({rounding_floor(cie):.1e}, what a row without an edit reads), so that rounding chose them. In half "
            "precision protocol: {logits_dtype: float32} lowers that floor.",
            file=sys.stderr,
        )
    row = row_in(context.folder, context.registry.model(context.model).architecture)
    layers = {layer for layer, _ in ranking[: max(wanted)]}
    projections = output_projections(context.folder, row, layers)
    with_bias = context.parameters["fv_output_bias"] == "per_head"
    vectors = {f"n_heads={k}": function_vector(means, ranking[:k], projections, with_bias).numpy() for k in wanted}
    return vectors, {"heads": {f"n_heads={k}": ranking[:k] for k in wanted}}


def function_vector(
    means: torch.Tensor,
    heads: list[tuple[int, int]],
    projections: dict[int, tuple[torch.Tensor, torch.Tensor | None]],
    with_bias: bool,
) -> torch.Tensor:
    """Sum over `heads` of W_O applied to that head's mean output, [width] float32 (Eq. 3).

    means: [layers, heads, head_dim]. projections: per layer W_O [width, heads * head_dim] and its bias or None.
    with_bias: add the bias once per head, as a call of the projection module does.
    """
    total = torch.zeros(next(iter(projections.values()))[0].shape[0])
    for layer, head in heads:
        weight, bias = projections[layer]
        # Where heads differ in size from layer to layer, the means of smaller ones end in zeros.
        size = weight.shape[1] // means.shape[1]
        total += weight[:, head * size : (head + 1) * size].float() @ means[layer, head, :size]
        if with_bias and bias is not None:
            total += bias.float()
    return total
