"""The verdict on a method where harm is not measured: any method on question sets, and the paper's own methods.

The tests, the margin and three of the five words are those of `analysis.verdicts`. "Works" and "works but harms" need a
measure of harm. Where one of the two would follow, the word says what is known, and that the rest cannot be told.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pandera.pandas as pa
from scipy.stats import fisher_exact
from statsmodels.stats.proportion import confint_proportions_2indep

from offcourse.analysis.verdicts import (
    NO_BETTER_THAN_LUCK,
    NO_BETTER_THAN_PROMPTING,
    UNSURE,
    WORKS,
    Estimate,
    decided,
    spread,
)
from offcourse.analysis.verdicts import verdict as whole_verdict

BETTER = "cannot be told: better than luck and prompting, but harm is not measured"
BETTER_THAN_LUCK = "cannot be told: better than luck, but harm is not measured"
WORDS = (NO_BETTER_THAN_LUCK, NO_BETTER_THAN_PROMPTING, UNSURE, BETTER, BETTER_THAN_LUCK)
# Numbers with an interval: the columns {name}, {name}_low and {name}_high.
ESTIMATES = ("gain", "over_luck", "over_prompting")

_FLOAT, _MAYBE = pa.Column(float), pa.Column(float, nullable=True)
_P = pa.Column(float, pa.Check.in_range(0, 1), nullable=True)
# on: a task or question set. measure: the metric whose means over items the numbers are. setting: the setting that is
# chosen most often, in words. steered, prompting, control: held out. over_prompting is missing for prompting itself,
# and where prompting is not measured on the same items.
BENEFITS = pa.DataFrameSchema(
    {
        "model": pa.Column(str),
        "method": pa.Column(str),
        "on": pa.Column(str),
        "measure": pa.Column(str),
        "items": pa.Column(int, pa.Check.gt(0)),
        "setting": pa.Column(str),
        "unsteered": _FLOAT,
        "steered": _FLOAT,
        "few_shot": _MAYBE,
        "prompting": _MAYBE,
        "control": _MAYBE,
        **{f"{name}{end}": _MAYBE for name in ESTIMATES for end in ("", "_low", "_high")},
        "p_luck": _P,
        "p_prompting": _P,
        "p_luck_holm": _P,
        "p_prompting_holm": _P,
        "verdict": pa.Column(str, pa.Check.isin(WORDS)),
    },
    strict=True,
    ordered=True,
)


def apart(base: np.ndarray, steered: np.ndarray, prompting: np.ndarray) -> dict[str, float]:
    """The numbers of a row whose sides have items of their own: Newcombe's intervals and Fisher's exact test.

    base, steered, prompting: hits, [items] each.
    """
    gain, over = _difference_of_shares(steered, base), _difference_of_shares(steered, prompting)
    found = {"items": len(steered), "unsteered": base.mean(), "steered": steered.mean(), "prompting": prompting.mean()}
    found |= {**spread("gain", gain), **spread("over_luck", gain), **spread("over_prompting", over)}
    return found | {"p_luck": _fisher(steered, base), "p_prompting": _fisher(steered, prompting)}


def _difference_of_shares(one: np.ndarray, other: np.ndarray) -> Estimate:
    counts = (int(one.sum()), len(one), int(other.sum()), len(other))
    ends = confint_proportions_2indep(*counts, method="newcomb", compare="diff")
    return Estimate(float(one.mean() - other.mean()), *map(float, ends))


def _fisher(one: np.ndarray, other: np.ndarray) -> float:
    return float(fisher_exact([[int(side.sum()), len(side) - int(side.sum())] for side in (one, other)]).pvalue)


def judged(rows: Sequence[dict]) -> pd.DataFrame:
    """The table of schema `BENEFITS`: `rows` with corrected p-values (Holm, over the rows of a method) and verdicts.

    A column that a row lacks is missing there.
    """
    frame = pd.DataFrame(rows, columns=[name for name in BENEFITS.columns if name not in _MADE])
    frame = decided(frame, verdict)
    numbers = [name for name, column in BENEFITS.columns.items() if str(column.dtype) == "float64"]
    return BENEFITS.validate(frame[list(BENEFITS.columns)].astype(dict.fromkeys(numbers, float)))


_MADE = ("p_luck_holm", "p_prompting_holm", "verdict")


def verdict(row: dict) -> str:
    """The word that the numbers of a row of `BENEFITS` support, by the rules of `analysis.verdicts.verdict`."""
    # What a method without harm would have: harm is not measured, so nothing is said of it below.
    word = whole_verdict(row | {"perplexity_ratio_low": 1.0, "elsewhere_high": 0.0})
    if word != WORKS:
        return word
    return BETTER_THAN_LUCK if np.isnan(row["over_prompting"]) else BETTER
