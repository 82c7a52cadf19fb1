"""Step `tv_sweep`: whether a task vector, put in place of one block's output, brings the answer (paper section 4)."""

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
        items = tqdm(prompts.itertuples(), desc=f"{split} {task.name}", total=len(prompts), leave=False, disable=None)
        for prompt in items:
            tokens = sweep(context.engine, prompt.token_ids, vectors[split][prompt.index])
            for layer, token in enumerate(tokens.tolist()):
                hit = is_right(task, context.tokenizer.decode([token]), prompt.target)
                rows.append((split, layer, prompt.index, hit))
    frame = pd.DataFrame(rows, columns=["split", "layer", "item", "hit"])
    return frame.sort_values(["split", "layer", "item"])


def sweep(engine: Engine, prompt, vector: torch.Tensor) -> torch.Tensor:
    """The token predicted when `vector` [layers, width] replaces the last state after each block: [layers] ids."""
    rows = ResidualRows(vector[:, None], engine.model.layers, replace=True)
    return engine.predict_rows(prompt, rows)[1:]
