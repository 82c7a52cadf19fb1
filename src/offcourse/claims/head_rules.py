"""Rules on the attention heads that function vectors need (Figure 13, `tables/head_overlap`)."""

import numpy as np
import pandas as pd

from offcourse.analysis import inference
from offcourse.claims.counts import registry, share_of_models
from offcourse.claims.numbers import Found, NoDataError, Numbers


def share_with_many_heads(numbers: Numbers, heads: str) -> Found:
    """Percentage of model-task pairs whose best number of heads is above `heads`, of those that can be steered."""
    known = _steered(numbers)
    many = known.assign(many=(known["value"] > float(heads)).astype(float))
    wide = many.pivot(index="model", columns="task", values="many")
    low, high = inference.share_of_pairs(wide, "pairs")
    return Found(100 * float(many["many"].mean()), 100 * low, 100 * high, len(known), known["model"].nunique())


def share_with_more_heads_for(numbers: Numbers, group: str) -> Found:
    """Percentage of models whose best number of heads is larger in a group of tasks than in the others.

    Means of logarithms over the pairs that can be steered are compared; a model without such a pair on either side is
    left out.
    """
    tasks, more = registry().tasks, {}
    for model, mine in _steered(numbers).groupby("model", sort=False):
        inside = np.array([tasks[task].group == group for task in mine["task"]])
        logs = np.log2(mine["value"].to_numpy(float))
        if inside.any() and not inside.all():
            more[model] = logs[inside].mean() > logs[~inside].mean()
    return share_of_models(more, "Figure 13")


def share_with_other_heads(numbers: Numbers, heads: str, part: str) -> Found:
    """Percentage of models of which two tasks share, on average, less than `part` of their strongest `heads` heads."""
    frame = numbers.evidence("head_overlap")
    frame = frame[frame["strongest"] == int(heads)]
    means = frame.groupby("model", sort=False)["shared"].mean() / int(heads)
    return share_of_models({model: mean < float(part) for model, mean in means.items()}, "the table of heads")


def _steered(numbers: Numbers) -> pd.DataFrame:
    """Rows of Figure 13 that have a best number of heads: those where function vectors recover something."""
    known = numbers.figure("figure13").dropna(subset=["value"])
    if known.empty:
        raise NoDataError("function vectors recover nothing here, so no number of heads is best")
    return known
