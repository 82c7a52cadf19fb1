"""Rules on what happens from layer to layer: the logit lens and apathy (Figures 2, 6, 7 and 8)."""

import numpy as np
import pandas as pd

from offcourse.claims.counts import share_of_models
from offcourse.claims.numbers import Found, NoDataError, Numbers


def share_with_late_rise(numbers: Numbers, depth: str, within: str, checkpoints: str) -> Found:
    """Percentage of models whose letters are improbable until `depth` of the layers and then rise together.

    Improbable: both the right and the likeliest wrong letter have less than half of their final probability. Together:
    their largest rises from one layer to the next are at most `within` layers apart. checkpoints: which of a model's
    count, all or the last (`counts.share_of_models`).
    """
    late = {}
    for model, mine in _models(numbers.figure("figure2")):
        lines = [_line(mine, name, "mean") for name in ("correct", "incorrect")]
        early = [line[: _until(line, depth)] for line in lines]
        low = all((part < line[-1] / 2).all() for part, line in zip(early, lines, strict=True))
        rises = [int(np.diff(line).argmax()) for line in lines]
        late[model] = low and abs(rises[0] - rises[1]) <= int(within)
    return share_of_models(late, "Figure 2", checkpoints)


def early_letters(numbers: Numbers, model: str, depth: str) -> Found:
    """The largest share of its final probability that a letter of one model has in the layers until `depth`."""
    mine = _one(numbers, model)
    found = []
    for name in ("correct", "incorrect"):
        mean, low, high = (_line(mine, name, column) for column in ("mean", "ci_low", "ci_high"))
        at = int(mean[: _until(mean, depth)].argmax())
        found.append(Found(*(float(line[at] / mean[-1]) for line in (mean, low, high)), models=1))
    return max(found, key=lambda each: each.value)


def early_certainty(numbers: Numbers, model: str, depth: str) -> Found:
    """By how much the likeliest token of one model is more probable in the layers until `depth` than that of any other.

    Largest means over questions are compared; the interval takes the worst ends of both.
    """
    mine = _highest(_one(numbers, model), depth)
    others = {name: _highest(frame, depth) for name, frame in _models(numbers.figure("figure2")) if name != model}
    if not others:
        raise NoDataError(f"there is no model beside {model} here")
    name, other = max(others.items(), key=lambda each: each[1].value)
    ends = mine.low - other.high, mine.high - other.low
    return Found(mine.value - other.value, *ends, models=1, note=f"the next is {name}")


def share_that_turn_together(numbers: Numbers, begun: str, within: str) -> Found:
    """Percentage of models whose apathy begins to increase where the predicted token is promoted.

    Apathy is the mean of the sub-layers that the model's blocks have. A line begins to increase where it first comes to
    `begun` of the way from its smallest to its largest value from below. Together: at most `within` of the depth, or
    one block, apart. The state after a block is counted to the block. A model with a line that never comes from below
    has no such place.
    """
    together = {}
    for model, mine in _models(numbers.figure("figure8")):
        lines = [_line(mine, name, "scaled") for name in ("mha", "mlp") if name in set(mine["line"])]
        apathy = np.mean(lines, axis=0)
        turned, promoted = begins(apathy, float(begun)), begins(_line(mine, "top", "scaled"), float(begun))
        near = max(1.0, float(within) * len(apathy))
        together[model] = turned is not None and promoted is not None and abs(turned - (promoted - 1)) <= near
    return share_of_models(together, "Figure 8")


def begins(line: np.ndarray, share: float) -> int | None:
    """Where a line first comes to `share` of its range from below."""
    above = line >= line.min() + share * (line.max() - line.min())
    places = np.flatnonzero(above[1:] & ~above[:-1])
    return int(places[0]) + 1 if len(places) else None


def _models(frame: pd.DataFrame):
    """(model, its rows); a model asked several sets of questions is (model and set, rows)."""
    several = frame.groupby("model")["questions"].nunique().gt(1)
    for (model, questions), mine in frame.groupby(["model", "questions"], sort=False):
        yield (f"{model} ({questions})" if several[model] else model), mine


def _one(numbers: Numbers, model: str) -> pd.DataFrame:
    frame = numbers.figure("figure2")
    frame = frame[frame["model"] == model]
    if frame.empty:
        raise NoDataError(f"{model} is not here")
    return frame


def _highest(frame: pd.DataFrame, depth: str) -> Found:
    mean, low, high = (_line(frame, "top", column) for column in ("mean", "ci_low", "ci_high"))
    at = int(mean[: _until(mean, depth)].argmax())
    return Found(float(mean[at]), float(low[at]), float(high[at]))


def _until(line: np.ndarray, depth: str) -> int:
    """How many states there are until a share of the depth."""
    return int(float(depth) * (len(line) - 1)) + 1


def _line(frame: pd.DataFrame, name: str, column: str) -> np.ndarray:
    return frame[frame["line"] == name].sort_values("layer")[column].to_numpy(float)
