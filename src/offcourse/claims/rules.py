"""The rules that decide claims: each computes one number with its 95 % interval from tables and figures.

Arguments other than the first come from `resources/claims.tsv` and are texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from offcourse.analysis import inference
from offcourse.analysis.truthfulness import wilson
from offcourse.data.registry import Registry

# Mark in the name of the row that the paper quotes from Chuang et al. (2024); it is not a result of the paper.
QUOTED = "*"
LEVEL = 0.05


@dataclass(frozen=True)
class Found:
    """A rule's number. low, high: its 95 % interval (NaN: none). n: number of models or model-task pairs behind it."""

    value: float
    low: float = np.nan
    high: float = np.nan
    n: int | None = None


class NoDataError(Exception):
    """The source lacks data that a rule needs; the text says why."""


@dataclass(frozen=True)
class Numbers:
    """The tables and figures of one source (a study, the release or the paper), as two functions.

    table: number -> table with columns row, column, value, ci_low, ci_high, n. figure: id -> the figure's parquet.
    Both raise `NoDataError` for a table or figure that the source lacks.
    """

    table: Callable[[int], pd.DataFrame]
    figure: Callable[[str], pd.DataFrame]


def cell(numbers: Numbers, table: str, row: str, column: str) -> Found:
    """One cell, with its interval."""
    frame = numbers.table(int(table))
    frame = frame[(frame["row"] == row) & (frame["column"] == column) & frame["value"].notna()]
    if frame.empty:
        raise NoDataError(f"Table {table} has no {row} at {column} here")
    return Found(*(float(frame[name].iloc[0]) for name in ("value", "ci_low", "ci_high")), _count(frame["n"].iloc[0]))


def cell_difference(numbers: Numbers, table: str, row: str, minus: str, column: str) -> Found:
    """The difference of two cells over the same model-task pairs. It has no interval, since the cells are dependent."""
    one, other = (cell(numbers, table, name, column) for name in (row, minus))
    return Found(one.value - other.value, n=one.n)


def share_that_gains(numbers: Numbers, table: str, metrics: str, by: str, **ends: str) -> Found:
    """Percentage of models that gain in most of the metrics. A gain: column `to` is at least `by` above column `from`.

    A model that lacks one of these columns is left out.
    """
    frame, names = _own_rows(numbers.table(int(table))), [name.strip() for name in metrics.split(",")]
    before, after = (
        frame.reindex(columns=[f"{name} {ends[end]}" for name in names]).to_numpy(float) for end in ("from", "to")
    )
    gains = pd.DataFrame(after - before).dropna()
    # The slack allows for binary rounding of decimals: 0.32 - 0.26 counts as 0.06.
    met = (gains >= float(by) - 1e-9).mean(axis=1) > 0.5
    return _share(met.tolist(), f"Table {table}")


def share_significant(numbers: Numbers, table: str, metric: str) -> Found:
    """Percentage of models that DoLa improves significantly: McNemar's exact test, Holm's correction over models."""
    frame = _own_rows(numbers.table(int(table)))
    if "McNemar p" not in frame:
        raise NoDataError(f"no test of Table {table} is printed")
    frame = frame.dropna(subset=["McNemar p"])
    gains = frame[f"{metric} DoLa"] > frame[f"{metric} base"]
    sure = np.array(inference.holm(frame["McNemar p"].tolist())) < LEVEL
    return _share((gains & sure).tolist(), f"Table {table}")


def share_with_many_heads(numbers: Numbers, heads: str) -> Found:
    """Percentage of steerable model-task pairs whose best number of heads is above `heads`."""
    known = _steered(numbers)
    wide = known.assign(many=(known["value"] > float(heads)).astype(float)).pivot(
        index="model", columns="task", values="many"
    )
    low, high = inference.share_of_pairs(wide, "pairs")
    return Found(100 * float((known["value"] > float(heads)).mean()), 100 * low, 100 * high, len(known))


def share_with_more_heads_for(numbers: Numbers, group: str) -> Found:
    """Percentage of models whose best number of heads is larger in a group of tasks than in the others.

    Means of logarithms over the steerable pairs are compared. A model without a steerable pair on one of the two sides
    is left out.
    """
    tasks, more = Registry.load().tasks, []
    for _, mine in _steered(numbers).groupby("model", sort=False):
        inside = np.array([tasks[task].group == group for task in mine["task"]])
        logs = np.log2(mine["value"].to_numpy(float))
        if inside.any() and not inside.all():
            more.append(logs[inside].mean() > logs[~inside].mean())
    return _share(more, "Figure 13")


def share_with_few_heads(numbers: Numbers, heads: str, effect: str) -> Found:
    """Percentage of models whose strongest `heads` (a share of all heads) carry more than `effect` of all effects.

    Effects are means over trials and tasks. Only positive effects are summed: heads that lower the answer's probability
    are left out.
    """
    few = []
    for _, mine in numbers.figure("figure9").groupby("model"):
        means = mine.groupby(["layer", "head"])["effect"].mean().clip(lower=0).sort_values(ascending=False)
        strongest = max(1, round(float(heads) * len(means)))
        few.append(means.sum() > 0 and means.iloc[:strongest].sum() > float(effect) * means.sum())
    return _share(few, "Figure 9")


def mean_change(numbers: Numbers) -> Found:
    """Mean change (Figure 16) over groups of tasks, with Student's interval over the groups."""
    frame = numbers.figure("figure16")
    changes = frame["change"].dropna().to_numpy(float)
    if not len(changes):
        raise NoDataError("Figure 16 has no change here")
    return Found(float(changes.mean()), *inference.student_interval(changes), int(frame["pairs"].max()))


def mean_change_of_pairs(numbers: Numbers) -> Found:
    """Mean change of peak recovery from a base model to the model post-trained from it.

    The change is averaged over the tasks of each pair of models, then over pairs, with Student's interval over pairs.
    """
    recovered = numbers.figure("figure13").pivot(index="model", columns="task", values="peak_recovery")
    changes = [
        (recovered.loc[post] - recovered.loc[base]).mean()
        for base, post in Registry.load().post_training(list(recovered.index))
    ]
    known = np.array([change for change in changes if not np.isnan(change)])
    if not len(known):
        raise NoDataError("there is no base model here with the model post-trained from it")
    return Found(float(known.mean()), *inference.student_interval(known), len(known))


def share_with_late_rise(numbers: Numbers, depth: str, within: str) -> Found:
    """Percentage of models whose letters are improbable until `depth` of the layers and then rise together.

    Improbable: the right and the likeliest wrong letter both have less than half of their final probability. Together:
    the largest rises of the two letters from one layer to the next are at most `within` layers apart.
    """
    late = []
    for _, mine in numbers.figure("figure2").groupby(["model", "questions"]):
        lines = [_line(mine, name, "mean") for name in ("correct", "incorrect")]
        early = [line[: int(float(depth) * (len(line) - 1)) + 1] for line in lines]
        low = all((part < line[-1] / 2).all() for part, line in zip(early, lines, strict=True))
        rises = [int(np.diff(line).argmax()) for line in lines]
        late.append(low and abs(rises[0] - rises[1]) <= int(within))
    return _share(late, "Figure 2")


def share_that_turn_together(numbers: Numbers, begun: str, within: str) -> Found:
    """Percentage of models whose apathy begins to increase where the predicted token is promoted.

    Apathy is the mean of both sub-layers. A line begins to increase at the first layer where it rises to `begun` of the
    way from its smallest to its largest value. Two lines begin together if they begin at most `within` of the depth, or
    one block, apart. The state after a block belongs to the block. A model with a line that starts above this height
    has no such layer.
    """
    together = []
    for _, mine in numbers.figure("figure8").groupby(["model", "questions"]):
        apathy = (_line(mine, "mha", "scaled") + _line(mine, "mlp", "scaled")) / 2
        turned, promoted = _begins(apathy, float(begun)), _begins(_line(mine, "top", "scaled"), float(begun))
        near = max(1.0, float(within) * len(apathy))
        together.append(turned is not None and promoted is not None and abs(turned - (promoted - 1)) <= near)
    return _share(together, "Figure 8")


RULES: dict[str, Callable[..., Found]] = {
    rule.__name__: rule
    for rule in (
        cell,
        cell_difference,
        share_that_gains,
        share_significant,
        share_with_many_heads,
        share_with_more_heads_for,
        share_with_few_heads,
        mean_change,
        mean_change_of_pairs,
        share_with_late_rise,
        share_that_turn_together,
    )
}


def _own_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Values of a table, a row per model, without the row that the paper quotes."""
    own = frame[~frame["row"].str.contains(QUOTED, regex=False)]
    return own.pivot(index="row", columns="column", values="value")


def _steered(numbers: Numbers) -> pd.DataFrame:
    """Rows of Figure 13 with a best number of heads, that is, pairs in which function vectors recover something."""
    known = numbers.figure("figure13").dropna(subset=["value"])
    if known.empty:
        raise NoDataError("function vectors recover nothing here, so no number of heads is best")
    return known


def _line(frame: pd.DataFrame, name: str, column: str) -> np.ndarray:
    return frame[frame["line"] == name].sort_values("layer")[column].to_numpy(float)


def _begins(line: np.ndarray, share: float) -> int | None:
    """The first index at which a line rises to `share` of its range; None for a line that starts above."""
    above = line >= line.min() + share * (line.max() - line.min())
    places = np.flatnonzero(above[1:] & ~above[:-1])
    return int(places[0]) + 1 if len(places) else None


def _share(met: Sequence[bool], where: str) -> Found:
    if not met:
        raise NoDataError(f"{where} has no model here")
    low, high = wilson([float(each) for each in met])
    return Found(100 * float(np.mean(met)), 100 * low, 100 * high, len(met))


def _count(n: object) -> int | None:
    return None if pd.isna(n) else int(n)
