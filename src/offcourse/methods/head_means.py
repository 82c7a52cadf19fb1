"""Step `head_means`: the mean output of every head over the task's prompts (the mean activation of Eq. 3)."""

import numpy as np

from offcourse.data.rows import Task


def compute(context, task: Task) -> tuple[dict[str, np.ndarray], dict]:
    """({`mean`: [layers, heads, head_dim] float32}, notes), each head's mean input to the output projection."""
    prompts = context.prompts(task, "head_mean")
    outputs = context.engine.capture_heads(list(prompts["token_ids"]), list(prompts["read_position"]))
    return {"mean": outputs.mean(0).contiguous().numpy()}, {"prompts": len(prompts)}
