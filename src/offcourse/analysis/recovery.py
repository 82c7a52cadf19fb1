"""Accuracies, and how much of the few-shot accuracy a steering vector recovers (Eq. 7 and 8)."""

import pandas as pd

from offcourse.errors import OffcourseError

# Section 4.1: vectors are built from 10-shot prompts, but judged against 5-shot accuracy.
BASELINE_SHOTS = 5

# Accuracies are counts over items, so two different ones are at least 1e-6 apart. Without slack, 18 of 50 items would
# not reach 0.9 of 20 of 50, because 0.9 * 0.4 > 0.36 in binary floating point.
SLACK = 1e-9


SETTING = ["n_heads", "strength", "layer"]


def shares(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """`accuracy` (0 to 1) and `n` (items) by the columns `by`, sorted by them (the index).

    `frame` has a row per item with `hit`, or, as the release has it, a row per count with `hits` and `items`.
    """
    if "hit" in frame:
        return frame.groupby(by, sort=True)["hit"].agg(accuracy="mean", n="size")
    counts = frame.set_index(by).sort_index()
    return pd.DataFrame({"accuracy": counts["hits"].astype(float) / counts["items"], "n": counts["items"]})


def accuracy(sweep: pd.DataFrame) -> pd.DataFrame:
    """One row per setting and layer of a sweep (`FV_SWEEP`), sorted by them.

    Columns: `n_heads`, `strength`, `layer`, `accuracy` (0 to 1), `n` (items).
    """
    return shares(sweep, SETTING).reset_index()


def hits(sweep: pd.DataFrame) -> pd.DataFrame:
    """The hits of a sweep item by item: a row per setting and layer (the index), a column per item; 1 is a hit.

    The release's sweeps hold counts, not items, so they have one column, the accuracy.
    """
    if "hit" not in sweep:
        return shares(sweep, SETTING)[["accuracy"]]
    return sweep.pivot(index=SETTING, columns="item", values="hit").sort_index()


def items(sweep: pd.DataFrame) -> int:
    """How many items each setting and layer of a sweep is over."""
    return int(shares(sweep, SETTING)["n"].max())


def baseline(shots: pd.Series) -> tuple[int, float]:
    """The number of shots that recovery is measured against, and its accuracy.

    `shots` holds the accuracy by number of shots. The number is 5 as in the paper, or the largest that a study of
    fewer shots has; whoever shows the result names the number. Raises `OffcourseError` when 5 was left out.
    """
    count = min(BASELINE_SHOTS, int(shots.index.max()))
    if count not in shots.index:
        raise OffcourseError(f"in-context results have {list(shots.index)} shots, but {count} shots are the baseline.")
    return count, float(shots.loc[count])


def reaches(best: float, quantile: float, few_shot: float) -> bool:
    """Whether an accuracy is at least `quantile` times the few-shot accuracy, up to rounding."""
    return best >= quantile * few_shot - SLACK


def peak_recovery(accuracies: pd.DataFrame, few_shot: float) -> float:
    """Eq. 7: best accuracy over settings and layers, as a fraction of `few_shot`; NaN when that is 0."""
    return _fraction(accuracies["accuracy"].max(), few_shot)


def average_recovery(accuracies: pd.DataFrame, few_shot: float) -> float:
    """Eq. 8: mean accuracy over layers, of the best setting, as a fraction of `few_shot`; NaN when that is 0."""
    return _fraction(accuracies.groupby(["n_heads", "strength"])["accuracy"].mean().max(), few_shot)


def _fraction(value: float, few_shot: float) -> float:
    return float(value) / few_shot if few_shot > 0 else float("nan")
