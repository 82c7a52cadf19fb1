"""Step `task_vectors`: the residual stream of the demonstrations' last token, after every block (paper section 4)."""

import numpy as np

from offcourse.data.rows import Task
from offcourse.data.task_vector_prompts import SPLITS


def compute(context, task: Task) -> tuple[dict[str, np.ndarray], dict]:
    """({split: task vectors [items, layers, width] float32}, notes).

    A dataset's task vector is the mean over its dummy queries.
    """
    vectors = {}
    for split in SPLITS:
        prompts = context.prompts(task, f"tv_{split}_dummy")
        items = prompts["index"].nunique()
        found = context.engine.capture_residuals(list(prompts["token_ids"]))
        # The dummy queries of a dataset stand one after the other.
        vectors[split] = found.view(items, -1, *found.shape[1:]).mean(1).contiguous().numpy()
    return vectors, {}
