"""Step `cie`: causal indirect effect of every head (paper section 4 and B.2).

On a prompt with shuffled labels, one head's output at the last position is replaced by its mean over proper prompts;
the effect is the change in the probability of the correct answer's first token.
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
    effects = [
        head_effects(context.engine, prompt.token_ids, prompt.target_id, means, drop_bias)
        for prompt in tqdm(prompts.itertuples(), desc=f"cie {task.name}", total=len(prompts), leave=False, disable=None)
    ]
    trials, layers, heads = np.meshgrid(
        np.arange(len(effects)), *(np.arange(size) for size in means.shape[:2]), indexing="ij"
    )
    return pd.DataFrame(
        {
            "trial": trials.ravel(),
            "layer": layers.ravel(),
            "head": heads.ravel(),
            "effect": torch.stack(effects).numpy().ravel(),
        }
    )


def head_effects(engine: Engine, prompt, target: int, means: torch.Tensor, drop_bias: bool) -> torch.Tensor:
    """Effect of every head on one prompt: [layers, heads] float32.

    drop_bias: compute the patched layer's attention output without its bias at every position, as the authors' code
    does. The prompt's other positions then depend on the patched layer, so each layer takes its own pass.
    """
    layers, heads = means.shape[:2]
    if not (drop_bias and any(projection.bias is not None for projection in engine.model.projections)):
        clean, patched = engine.read_rows(prompt, target, HeadRows(means))
        return patched.probability.view(layers, heads) - clean.probability
    clean = engine.read([prompt], [target])
    patched = [
        engine.read_rows(prompt, target, HeadRows(means, only=layer), without_output_bias=layer)[1].probability
        for layer in range(layers)
    ]
    return torch.stack(patched) - clean.probability
