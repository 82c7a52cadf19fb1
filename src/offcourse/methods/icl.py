"""Step `icl`: in-context learning baselines, 0 to `shots` demonstrations (paper section 4.1)."""

import pandas as pd

from offcourse.data.rows import Task


def compute(context, task: Task) -> pd.DataFrame:
    """One row per number of shots and item; a hit is rank 0 of the target's first token."""
    prompts = context.prompts(task, "icl").sort_values(["index", "shots"])
    # Item by item: the prompts of one item share demonstrations, and the forest computes them once.
    found = context.engine.read(list(prompts["token_ids"]), list(prompts["target_id"]))
    frame = pd.DataFrame({"shots": prompts["shots"], "item": prompts["index"], "hit": found.hit.numpy()})
    return frame.sort_values(["shots", "item"])
