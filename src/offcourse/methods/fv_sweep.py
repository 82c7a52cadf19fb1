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
    hits = sweep(context.engine, prompts, edits, f"sweep {task.name}")
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


def sweep(engine: Engine, prompts: pd.DataFrame, edits: torch.Tensor, shown: str | None = None) -> torch.Tensor:
    """Hits of every edit after every block: [prompts, layers, edits] bool.

    prompts: rows with `token_ids` and `target_id`. edits: [edits, width], or [layers, edits, width]. shown: the name of
    the progress bar.
    """
    rows = ResidualRows(edits, engine.model.layers)
    found = engine.read_rows_each(list(prompts["token_ids"]), list(prompts["target_id"]), rows, probability=False)
    hits = [patched.hit for _, patched in tqdm(found, desc=shown, total=len(prompts), leave=False, disable=None)]
    return torch.stack(hits).cpu().view(len(prompts), engine.model.layers, -1)
