"""Accuracies, and how much of the few-shot accuracy a steering vector recovers (Eq. 7 and 8)."""

import pandas as pd

from offcourse.errors import OffcourseError

# Section 4.1: vectors are built from 10-shot prompts but compared with 5-shot accuracy.
BASELINE_SHOTS = 5

# Accuracies are counts over items, so different accuracies are at least 1e-6 apart. Without this slack, 18 of 50 items
# would not reach 0.9 times 20 of 50, because 0.9 * 0.4 > 0.36 in binary floating point.
SLACK = 1e-9


SETTING = ["n_heads", "strength", "layer"]


def shares(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """`accuracy` (0 to 1) and `n` (items) per combination of the columns `by`, which are the sorted index.

    frame: a row per item with `hit`, or, in the release's results, a row per count with `hits` and `items`.
    """
    if "hit" in frame:
        return frame.groupby(by, sort=True)["hit"].agg(accuracy="mean", n="size")
    counts = pd.MultiIndex.from_frame(frame[by]) if len(by) > 1 else pd.Index(frame[by[0]])
    hits, items = frame["hits"].astype(float).to_numpy(), frame["items"].to_numpy()
    found = pd.DataFrame({"accuracy": hits / items, "n": items}, index=counts)
    return found if counts.is_monotonic_increasing else found.sort_index()


def accuracy(sweep: pd.DataFrame) -> pd.DataFrame:
    """The accuracy of every setting and layer of a sweep (`FV_SWEEP`), in sorted rows.

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


def steering_hits(sweep: pd.DataFrame, *first: str) -> pd.DataFrame:
    """The hits of a steering method's sweep: a row per strength and layer (the index), a column per item.

    first: axes that come before strength and layer, such as `control`.
    """
    return sweep.pivot(index=[*first, "strength", "layer"], columns="item", values="hit").sort_index()


def items(sweep: pd.DataFrame) -> int:
    """The number of items that each setting and layer of a sweep was evaluated on."""
    return int((shares(sweep, SETTING)["n"] if "hit" in sweep else sweep["items"]).max())


def baseline(shots: pd.Series) -> tuple[int, float]:
    """(number of shots, accuracy) of the baseline that recovery is a fraction of.

    shots: accuracy by number of shots. The baseline has 5 shots as in the paper, or the largest number of a study with
    fewer shots; tables and figures name the number. Raises `OffcourseError` when the results lack the 5 shots.
    """
    count = min(BASELINE_SHOTS, int(shots.index.max()))
    if count not in shots.index:
        raise OffcourseError(f"in-context results have {list(shots.index)} shots, but {count} shots are the baseline.")
    return count, float(shots.loc[count])


def reaches(best: float, quantile: float, few_shot: float) -> bool:
    """Whether an accuracy is at least `quantile` times the few-shot accuracy, up to rounding."""
    return best >= quantile * few_shot - SLACK


def peak_recovery(accuracies: pd.DataFrame, few_shot: float) -> float:
    """Eq. 7: best accuracy over settings and layers, as a fraction of `few_shot`; NaN if `few_shot` is 0."""
    return _fraction(accuracies["accuracy"].max(), few_shot)


def average_recovery(accuracies: pd.DataFrame, few_shot: float) -> float:
    """Eq. 8: mean accuracy of the best setting over layers, as a fraction of `few_shot`; NaN if `few_shot` is 0."""
    return _fraction(over_layers(accuracies).max(), few_shot)


def over_layers(accuracies: pd.DataFrame) -> pd.Series:
    """The mean accuracy of every setting over its layers, by `n_heads` and `strength`."""
    return accuracies.groupby(["n_heads", "strength"])["accuracy"].mean()


def _fraction(value: float, few_shot: float) -> float:
    return float(value) / few_shot if few_shot > 0 else float("nan")
