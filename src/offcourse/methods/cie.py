"""Step `cie`: causal indirect effect of every head (paper section 4 and B.2).

On a prompt with shuffled labels, one head's output at the last position is replaced by its mean over proper prompts;
the effect is the change in the probability of the correct answer's first token. A row per layer in which nothing is
replaced says how large an effect rounding alone can have.
"""

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from offcourse.data.rows import Task
from offcourse.engine import Engine, HeadRows


def compute(context, task: Task) -> pd.DataFrame:
    """The causal indirect effect of every head, a table of schema `CIE`: one row per trial, layer and head."""
    return measure(context, context.tensors("head_means", task)["mean"], context.prompts(task, "cie"), task)


def measure(context, means: torch.Tensor, prompts: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The causal indirect effect of every head, for given mean outputs of the heads and prompts with shuffled labels.

    means: [layers, heads, head_dim]. Returns one row per trial, layer and head.
    """
    drop_bias = context.parameters["cie_output_bias"] == "dropped"
    effects, unedited = head_effects(context.engine, prompts, means, drop_bias, f"cie {task.name}")
    trials, layers, heads = np.meshgrid(*map(np.arange, effects.shape), indexing="ij")
    return pd.DataFrame(
        {
            "trial": trials.ravel(),
            "layer": layers.ravel(),
            "head": heads.ravel(),
            "effect": effects.numpy().ravel(),
            "unedited": unedited[..., None].expand_as(effects).numpy().ravel(),
        }
    )


def head_effects(
    engine: Engine, prompts: pd.DataFrame, means: torch.Tensor, drop_bias: bool, shown: str | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Effect of every head on each prompt, [prompts, layers, heads], and of no edit, [prompts, layers]; both float32.

    prompts: rows with `token_ids` and `target_id`. shown: the name of the progress bar.
    drop_bias: compute the patched layer's attention output without its bias at every position, as the authors' code
    does. The prompt's other positions then depend on the patched layer, so each layer takes its own pass.
    """
    layers, heads = means.shape[:2]
    asked = list(prompts["token_ids"]), list(prompts["target_id"])

    def effects(rows: HeadRows, without_output_bias: int | None = None) -> torch.Tensor:
        found = engine.read_rows_each(*asked, rows, without_output_bias=without_output_bias)
        bar = tqdm(found, desc=shown, total=len(prompts), leave=False, disable=None)
        return torch.stack([patched.probability - clean.probability for clean, patched in bar]).cpu()

    if not (drop_bias and any(projection.bias is not None for projection in engine.model.projections)):
        found = effects(HeadRows(means, unedited=1)).view(-1, layers, heads + 1)
        return found[..., :heads], found[..., heads]
    # Without its bias at every position a row is compared with the prompt as the model computes it.
    clean = engine.read(*asked).probability[:, None]
    patched = [
        torch.stack(
            [
                rows.probability
                for _, rows in engine.read_rows_each(*asked, HeadRows(means, only=layer), without_output_bias=layer)
            ]
        ).cpu()
        for layer in range(layers)
    ]
    return torch.stack(patched, 1) - clean[..., None], effects(HeadRows(means[:, :0], unedited=1))
