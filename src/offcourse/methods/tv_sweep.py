"""Step `tv_sweep`: whether a task vector, put in place of one block's output, brings the answer (paper section 4)."""

from collections.abc import Iterator

import pandas as pd
import torch
from tqdm import tqdm

from offcourse.data.rows import Task
from offcourse.data.task_vector_prompts import SPLITS
from offcourse.engine import Engine, ResidualRows
from offcourse.methods.answers import is_right


def compute(context, task: Task) -> pd.DataFrame:
    """One row per split, layer and item."""
    vectors = context.tensors("task_vectors", task)
    rows = []
    for split in SPLITS:
        prompts = context.prompts(task, f"tv_{split}_query")
        found = sweep(context.engine, list(prompts["token_ids"]), vectors[split][prompts["index"].tolist()])
        shown = tqdm(found, desc=f"{split} {task.name}", total=len(prompts), leave=False, disable=None)
        for prompt, tokens in zip(prompts.itertuples(), torch.stack(list(shown)).cpu().tolist(), strict=True):
            for layer, token in enumerate(tokens):
                hit = is_right(task, context.tokenizer.decode([token]), prompt.target)
                rows.append((split, layer, prompt.index, hit))
    frame = pd.DataFrame(rows, columns=["split", "layer", "item", "hit"])
    return frame.sort_values(["split", "layer", "item"])


def sweep(engine: Engine, prompts, vectors: torch.Tensor) -> Iterator[torch.Tensor]:
    """For each prompt, the token predicted when its vector replaces the last state after each block: [layers] ids.

    vectors: [prompts, layers, width]. Ids stay on the device of the unembedding.
    """
    rows = ResidualRows(vectors[:, :, None], engine.model.layers, replace=True)
    return (tokens[1:] for tokens in engine.predict_rows(prompts, rows))
