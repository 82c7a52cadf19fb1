"""Step `fv_sweep`: whether a function vector, added at one layer of a 0-shot prompt, brings the answer (Eq. 5)."""

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from offcourse.data.rows import Task
from offcourse.engine import Engine, ResidualRows


def compute(context, task: Task) -> pd.DataFrame:
    """One row per n_heads, strength, layer and item."""
    vectors = context.tensors("function_vectors", task)
    counts = sorted(int(name.removeprefix("n_heads=")) for name in vectors)
    strengths = context.parameters["strengths"]
    # As in the study, a vector is cast to the model's dtype before it is multiplied by the strength.
    dtype = context.engine.model.module.dtype
    edits = torch.stack([strength * vectors[f"n_heads={k}"].to(dtype) for k in counts for strength in strengths])
    prompts = context.prompts(task, "query")
    items = tqdm(prompts.itertuples(), desc=f"sweep {task.name}", total=len(prompts), leave=False, disable=None)
    hits = torch.stack([sweep(context.engine, prompt.token_ids, prompt.target_id, edits) for prompt in items])
    layers = hits.shape[1]
    grid = hits.view(len(prompts), layers, len(counts), len(strengths)).permute(2, 3, 1, 0)
    k, strength, layer, item = np.meshgrid(
        counts, strengths, np.arange(layers), prompts["index"].to_numpy(), indexing="ij"
    )
    return pd.DataFrame(
        {
            "n_heads": k.ravel(),
            "strength": strength.ravel(),
            "layer": layer.ravel(),
            "item": item.ravel(),
            "hit": grid.reshape(-1).numpy(),
        }
    )


def sweep(engine: Engine, prompt, target: int, edits: torch.Tensor) -> torch.Tensor:
    """Hits of every edit after every block, on one prompt: [layers, edits] bool."""
    layers = engine.model.layers
    _, found = engine.read_rows(prompt, target, ResidualRows(edits, layers), probability=False)
    return found.hit.view(layers, len(edits))
