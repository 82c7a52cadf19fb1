"""Step `tv_icl`: accuracy without a task vector, from the query alone and from demonstrations (paper section 4)."""

import pandas as pd

from offcourse.data.rows import Task
from offcourse.methods.answers import is_right


def compute(context, task: Task) -> pd.DataFrame:
    """One row per number of shots and dataset."""
    prompts = pd.concat([context.prompts(task, kind) for kind in ("tv_baseline", "tv_icl")])
    tokens = context.engine.predict(list(prompts["token_ids"])).tolist()
    hits = [
        is_right(task, context.tokenizer.decode([token]), target)
        for token, target in zip(tokens, prompts["target"], strict=True)
    ]
    return pd.DataFrame({"shots": prompts["shots"], "item": prompts["index"], "hit": hits})
