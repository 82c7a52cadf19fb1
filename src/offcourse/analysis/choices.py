"""The number of heads, the strength and the layer that recover most, per model and task (Figures 13 to 15).

A pair is one model and one task.
"""

import numpy as np
import pandas as pd

from offcourse.analysis import recovery
from offcourse.analysis.results import Folder, read_accuracy, read_model, read_shots

# A pair whose best setting recovers no more than this is left blank, since its choices are arbitrary.
LEAST_RECOVERY = 0.2
AXES = ("n_heads", "strength", "layer")


def best_of(accuracies: pd.DataFrame, few_shot: float, n_layers: int) -> dict[str, float]:
    """The choices of one pair: `peak_recovery`, `n_heads`, `strength`, `layer` and `layer_percent`.

    Each of the three choices is made separately, from the accuracy maximised over the other two, so the three need not
    occur together. A tie goes to the smallest value; `n_heads_tied`, `strength_tied` and `layer_tied` count the values
    that reach the largest accuracy (1: no tie). `layer_percent` is 100 x layer / `n_layers`, layers counted from 0. The
    choices are NaN, and their counts 0, where peak recovery is at most `LEAST_RECOVERY`, or undefined because few-shot
    accuracy is 0.
    """
    peak = recovery.peak_recovery(accuracies, few_shot)
    known = peak > LEAST_RECOVERY + recovery.SLACK
    chosen: dict[str, float] = {}
    for axis in AXES:
        tied = _best(accuracies, axis) if known else []
        chosen |= {axis: float(tied[0]) if tied else float("nan"), f"{axis}_tied": len(tied)}
    return {"peak_recovery": peak, **chosen, "layer_percent": 100 * chosen["layer"] / n_layers}


def best(results: Folder, models: list[str], tasks: list[str]) -> pd.DataFrame:
    """`best_of` for every model and task, a row each with columns `model` and `task` in front."""
    rows = []
    for model in models:
        n_layers = read_model(results, model)["layers"]
        for task in tasks:
            _, few_shot = recovery.baseline(read_shots(results, model, task))
            choice = best_of(read_accuracy(results, model, task), few_shot, n_layers)
            rows.append({"model": model, "task": task, **choice})
    return pd.DataFrame(rows)


def _best(accuracies: pd.DataFrame, axis: str) -> list[float]:
    """The values of an axis that reach the largest accuracy, in order."""
    values, accuracy = accuracies[axis].to_numpy(), accuracies["accuracy"].to_numpy()
    # A value reaches the largest accuracy if one of its rows does.
    return np.unique(values[accuracy >= np.nanmax(accuracy) - recovery.SLACK]).tolist()
