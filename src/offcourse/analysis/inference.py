"""Uncertainty of numbers: intervals over items, models and tasks, corrected p-values, and maxima that luck alone gives.

Wilson's interval and McNemar's test are in `analysis.truthfulness`; choosing on one half of the items and reporting on
the other is in `analysis.selection`. Random draws are keyed (`data.draws.keyed_generator`), so that a number does not
depend on the rest of the study.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, logit, stdtrit
from scipy.stats import binom, permutation_test, rankdata
from statsmodels.stats.proportion import confint_proportions_2indep

from offcourse.analysis.recovery import SLACK
from offcourse.analysis.truthfulness import wilson
from offcourse.data.draws import keyed_generator
from offcourse.errors import OffcourseError

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 0
_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
# Numbers in one block of resamples; bounds the memory to 80 MB.
_BLOCK = 10_000_000


# Metrics of question sets that are shares of probability.
CONTINUOUS = ("mc2", "mc3")


class Interval(NamedTuple):
    """Ends of a 95 % interval."""

    low: float
    high: float


def student_interval(values: np.ndarray) -> Interval:
    """Student's interval of the mean of a few independent numbers; NaN with fewer than two."""
    if len(values) < 2:
        return Interval(float("nan"), float("nan"))
    half = stdtrit(len(values) - 1, (1 + LEVEL) / 2) * values.std(ddof=1) / np.sqrt(len(values))
    return Interval(float(values.mean() - half), float(values.mean() + half))


def logit_interval(shares: np.ndarray) -> Interval:
    """Student's interval of the mean of a few independent shares, on the scale of log odds: it ends between 0 and 1.

    The mean's log odds have the standard error s / (m (1 - m)) of the mean m with standard error s (delta method). NaN
    with fewer than two shares, and where the mean is 0 or 1, which have no log odds.
    """
    mean = float(np.mean(shares)) if len(shares) else float("nan")
    if len(shares) < 2 or not 0 < mean < 1:
        return Interval(float("nan"), float("nan"))
    error = np.std(shares, ddof=1) / np.sqrt(len(shares)) / (mean * (1 - mean))
    half = stdtrit(len(shares) - 1, (1 + LEVEL) / 2) * error
    return Interval(float(expit(logit(mean) - half)), float(expit(logit(mean) + half)))


def over_items(values: np.ndarray, unit: str, bounds: tuple[float, float] = (0.0, 1.0)) -> Interval:
    """95 % interval of the mean of `values` by the percentile bootstrap over items.

    When all values are equal, so is every resample, and the bootstrap has no width. The interval then holds every mean
    that is possible if as many items as Wilson's interval of none allows had a value at one end of `bounds`. So the
    upper end of a metric that is 0 for every item is above 0.

    values: [items], one number per item. bounds: the smallest and the largest value that an item can have.
    unit: the task or question set of the items. It keys the draws, so that means of one unit, such as those of two
    models, are resampled alike.

    Raises `OffcourseError` for fewer than two items.
    """
    values = np.asarray(values, float)
    if len(values) < 2:
        raise OffcourseError(f"{unit}: an interval over items needs at least two of them, not {len(values)}.")
    if (values == values[0]).all():
        same, (_, other) = float(values[0]), wilson([0.0] * len(values))
        return Interval(same - other * (same - bounds[0]), same + other * (bounds[1] - same))
    means = _drawn(unit, len(values)) @ (values / len(values))
    return Interval(*map(float, np.quantile(means, _ENDS)))


def difference_over_items(differences: np.ndarray, unit: str, metric: str = "") -> Interval:
    """95 % interval of a mean of paired differences, [items] of -1 to 1, two or more.

    It is that of `over_items`, but no end is nearer to the mean than where all items are alike. Where few items differ,
    or few are there, resamples alone are too much alike (docs/statistics.md has how often). That is so of what an item
    has or has not; of shares of probability (`CONTINUOUS`) hardly two items are alike, and resamples suffice.

    metric: a metric of question sets, such as mc2; others are hits.
    """
    mean, (low, high) = float(np.mean(differences)), over_items(differences, unit, (-1.0, 1.0))
    if metric in CONTINUOUS:
        return Interval(low, high)
    least = over_items(np.zeros(len(differences)), unit, (-1.0, 1.0)).high
    return Interval(max(-1.0, min(low, mean - least)), min(1.0, max(high, mean + least)))


def ratio_over_items(totals: np.ndarray, sizes: np.ndarray, unit: str) -> Interval:
    """95 % interval of sum(totals) / sum(sizes) by the percentile bootstrap over items: both are drawn together.

    totals, sizes: [items], two items or more; sizes are positive. unit: keys the draws, as in `over_items`.
    """
    drawn = _drawn(unit, len(totals))
    return Interval(*map(float, np.quantile((drawn @ totals) / (drawn @ sizes), _ENDS)))


def above_zero(differences: np.ndarray, unit: str) -> float:
    """p-value of a mean difference of pairs as large as the one found, if nothing differs: one side, random signs.

    If nothing differs, the two sides of an item can be swapped. A coin per item decides; the p-value counts the
    differences as found among the resamples. differences: [items], one per pair.
    """
    generator = keyed_generator(SEED, unit, "signs", len(differences))
    signs = generator.choice((-1.0, 1.0), size=(RESAMPLES, len(differences)))
    return float((1 + (signs @ differences >= differences.sum() - SLACK).sum()) / (1 + RESAMPLES))


# Cached, since a study has many numbers of one unit; few sets are kept, since a large set of questions takes memory.
@lru_cache(maxsize=16)
def _drawn(unit: str, items: int) -> np.ndarray:
    """How often each resample draws each item: [RESAMPLES, items]."""
    generator = keyed_generator(SEED, unit, "bootstrap over items", items)
    places = generator.integers(items, size=(RESAMPLES, items)) + items * np.arange(RESAMPLES)[:, None]
    counts = np.bincount(places.ravel(), minlength=RESAMPLES * items)
    return counts.reshape(RESAMPLES, items).astype(np.float64)


def share_of_pairs(reached: pd.DataFrame, unit: str) -> Interval:
    """95 % interval of a share of model-task pairs.

    Each end is the wider of two intervals: `over_models_and_tasks`, since pairs of one model are alike, and Wilson's
    interval, since a bootstrap of pairs that all agree has no width.

    reached: [models, tasks] of 0 and 1 (counted in the share); NaN where a pair is missing.
    """
    clustered = over_models_and_tasks(reached, unit)
    values = reached.to_numpy(float)
    alone = wilson(values[~np.isnan(values)].tolist())
    return Interval(min(clustered.low, alone[0]), max(clustered.high, alone[1]))


def over_models_and_tasks(values: pd.DataFrame, unit: str, resamples: int = RESAMPLES) -> Interval:
    """95 % interval of a mean over model-task pairs: models and tasks are resampled independently of each other.

    Pairs of one model, or of one task, are not independent, so Wilson's interval would be too narrow. Both are drawn
    (the pigeonhole bootstrap, Owen 2007). With two models the interval covers less or more than 95 %; COVERAGE in
    docs/statistics.md is a simulation of it. Items are not resampled: their variation is already in each pair's number.

    values: [models, tasks], a row per model and a column per task; NaN where a pair is missing. Missing pairs, and
    resamples of missing pairs only, are left out.

    Raises `OffcourseError` when there is no pair.
    """
    table = values.to_numpy(float)
    known = ~np.isnan(table)
    if not known.any():
        raise OffcourseError(f"{unit}: there is no model-task pair to resample.")
    rows, columns = _drawn_pairs(unit, *table.shape, resamples)
    total = np.einsum("rm,mt,rt->r", rows, np.where(known, table, 0.0), columns, optimize=True)
    weight = np.einsum("rm,mt,rt->r", rows, known.astype(float), columns, optimize=True)
    means = total[weight > 0] / weight[weight > 0]
    return Interval(*map(float, np.quantile(means, _ENDS)))


# Cached, since a unit has a number for each quantile, claim and switch; 16 sets of the paper's models take 80 MB.
@lru_cache(maxsize=16)
def _drawn_pairs(unit: str, models: int, tasks: int, resamples: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each resample draws each model and each task: [resamples, models] and [resamples, tasks]."""
    generator = keyed_generator(SEED, unit, "bootstrap over models and tasks", models * tasks)
    draws = (generator.multinomial(size, np.full(size, 1 / size), size=resamples) for size in (models, tasks))
    rows, columns = (counts.astype(float) for counts in draws)
    return rows, columns


def mean_of_pairs(values: pd.DataFrame, unit: str, bounds: tuple[float, float] = (0.0, 1.0)) -> Interval:
    """`over_models_and_tasks`; where all pairs are equal, a bootstrap has no width and `over_items` says what is taken.

    values: [models, tasks], each within `bounds`; NaN where a pair is missing.
    """
    known = values.to_numpy(float)
    known = known[~np.isnan(known)]
    if len(known) > 1 and (known == known[0]).all():
        return over_items(known, unit, bounds)
    return over_models_and_tasks(values, unit)


def difference_of_pairs(differences: pd.DataFrame, unit: str) -> Interval:
    """Interval of the mean difference of two shares of the same model-task pairs, see `mean_of_pairs`.

    differences: [models, tasks], of -1 to 1; NaN where a pair is missing.
    """
    return mean_of_pairs(differences, unit, (-1.0, 1.0))


def spread_of_pairs(values: pd.DataFrame, share: float, unit: str, resamples: int = 2000) -> tuple[float, float, float]:
    """Width of the central `share` of a number over model-task pairs, and its interval: models and tasks are drawn.

    values: [models, tasks]; NaN where a pair is missing.
    """
    table, ends = values.to_numpy(float), ((1 - share) / 2, (1 + share) / 2)
    generator = keyed_generator(SEED, unit, "spread over models and tasks", table.size)
    rows, columns = (generator.integers(size, size=(resamples, size)) for size in table.shape)
    drawn = table[rows[:, :, None], columns[:, None, :]].reshape(resamples, -1)
    drawn = drawn[~np.isnan(drawn).all(axis=1)]
    # numpy looks for NaN row by row, which takes twenty times as long.
    quantile = np.nanquantile if np.isnan(drawn).any() else np.quantile
    low, high = quantile(drawn, ends, axis=1)
    return (float(np.diff(np.nanquantile(table, ends))[0]), *map(float, np.quantile(high - low, _ENDS)))


class Correlation(NamedTuple):
    """The largest of several correlations, its interval, and what it is with."""

    value: float
    low: float
    high: float
    fact: str


def largest_correlation(
    values: np.ndarray, facts: Mapping[str, np.ndarray], families: Sequence[str], resamples: int = 4000
) -> Correlation:
    """The largest of several rank correlations (Spearman's) without their signs, and its interval: families are drawn.

    Each correlation's interval has the level that all together keep 95 % with (Bonferroni); an interval that holds 0
    begins at 0. The ends are the largest lower and the largest upper one. A fact that never varies has none; with no
    other the numbers are NaN.
    values: [models]. facts: [models] each. families: of each model.
    """
    facts = {name: fact for name, fact in facts.items() if len(set(fact)) > 1}
    if not facts:
        return Correlation(np.nan, np.nan, np.nan, "")
    members = [np.flatnonzero(np.array(families) == family) for family in dict.fromkeys(families)]
    generator = keyed_generator(SEED, ", ".join(facts), "bootstrap over families", len(members))
    chosen = generator.integers(len(members), size=(resamples, len(members)))
    by_size: dict[int, list[np.ndarray]] = {}
    for draw in (np.concatenate([members[at] for at in each]) for each in chosen):
        by_size.setdefault(len(draw), []).append(draw)
    beyond = _ENDS[0] / len(facts)
    found = []
    for name, fact in facts.items():
        resampled = [_rank_correlations(values[np.stack(same)], fact[np.stack(same)]) for same in by_size.values()]
        low, high = np.nanquantile(np.concatenate(resampled), (beyond, 1 - beyond))
        value = abs(float(_rank_correlations(values[None], fact[None])[0]))
        found.append((value, 0.0 if low <= 0 <= high else min(abs(low), abs(high)), max(abs(low), abs(high)), name))
    value, _, _, name = max(found)
    low, high = (float(max(each[end] for each in found)) for end in (1, 2))
    return Correlation(value, low, high, name)


def _rank_correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman's, row by row of [rows, models]; NaN where one of the two never varies."""
    ranks = [rankdata(each, axis=1) for each in (one, other)]
    ranks = [each - each.mean(axis=1, keepdims=True) for each in ranks]
    spread = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    return np.divide((ranks[0] * ranks[1]).sum(axis=1), spread, out=np.full(len(spread), np.nan), where=spread > 0)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values with Holm's step-down correction: each may be compared with 0.05, even if the tests are dependent."""
    # As statsmodels' multipletests, which collects all of Python's garbage at each call (0.2 s).
    p_values = np.asarray(p_values, float)
    order, corrected = np.argsort(p_values), np.empty(len(p_values))
    steps = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    corrected[order] = np.minimum(steps, 1)
    return corrected.tolist()


class Maximum(NamedTuple):
    """The distribution of a grid's maximum when steering does nothing: its mean and its 95 % quantile.

    p: probability of a maximum at least as large as the maximum that was found.
    """

    mean: float
    high: float
    p: float


def largest_of_independent(accuracy: float, items: int, settings: int, found: float) -> Maximum:
    """The largest accuracy of `settings` independent settings that each hit every item with one probability. Exact.

    The largest of k independent binomial counts is at most x with probability F(x)^k. Settings of a real grid are
    correlated, which makes their maximum smaller; see `largest_by_swapping`.

    accuracy: accuracy without steering. found: the maximum that was found.
    """
    counts = np.arange(items + 1)
    at_most = binom.cdf(counts, items, accuracy) ** settings
    mean = float((1 - at_most[:-1]).sum() / items)
    high = float(counts[np.searchsorted(at_most, LEVEL)] / items)
    below = int(np.ceil(found * items - SLACK)) - 1
    if below < 0:
        return Maximum(mean, high, 1.0)
    # 1 - F^k, computed without cancellation where F is nearly 1.
    return Maximum(mean, high, float(-np.expm1(settings * np.log1p(-binom.sf(below, items, accuracy)))))


def largest_by_swapping(base: np.ndarray, hits: np.ndarray, unit: str, resamples: int = RESAMPLES) -> Maximum:
    """The largest gain of a grid over the unsteered model when steering does nothing; by a permutation test.

    If steering does nothing, an item's hit without steering and its hit with steering can be swapped. A coin per item
    decides, and decides alike for all settings, so the correlation of settings is kept (Westfall and Young 1993). The
    p-value counts the grid as found among the resamples and is valid for any dependence of the settings.

    base: [items], hits without steering. hits: [settings, items]. Gains are differences in accuracy.

    Raises `OffcourseError` when the numbers of items differ.
    """
    base, hits = np.asarray(base, float), np.asarray(hits, float)
    if base.shape != hits.shape[1:]:
        raise OffcourseError(f"{unit}: {len(base)} items without steering do not pair with {hits.shape[1]} with it.")
    items = len(base)
    gains = hits - base
    found = gains.sum(1).max()
    generator = keyed_generator(SEED, unit, "swaps", items)
    signs = generator.choice((-1.0, 1.0), size=(resamples, items))
    step = max(1, _BLOCK // len(gains))
    largest = np.concatenate([(signs[i : i + step] @ gains.T).max(1) for i in range(0, resamples, step)])
    p = (1 + (largest >= found - SLACK).sum()) / (1 + resamples)
    return Maximum(float(largest.mean() / items), float(np.quantile(largest, LEVEL) / items), float(p))


def pairs_by_luck(pairs: pd.DataFrame, quantile: float) -> float:
    """The expected number of model-task pairs that reach `quantile` x few-shot accuracy by luck alone (Table 3).

    By luck: every setting and layer independently has the accuracy without steering, see `largest_of_independent`.
    pairs: columns `zero_shot`, `few_shot` (accuracies), `items` and `settings` (of the sweep, layers included).
    """
    return sum(
        largest_of_independent(pair.zero_shot, pair.items, pair.settings, quantile * pair.few_shot).p
        for pair in pairs.itertuples()
    )


def best_differs(one: np.ndarray, other: np.ndarray, unit: str) -> float:
    """How probable a difference as large, in either direction, is between the best of two grids that do the same.

    If they do the same, an item's hits with one might as well be its hits with the other. So the two are swapped, by
    the toss of a coin per item that is the same for all settings: `scipy.stats.permutation_test` on pairs of items, of
    the difference between the largest accuracies. The choice of a setting is made anew in every resample.

    one, other: [settings, items] of the same settings and items.
    """
    one, other = _paired(one, other, unit)
    items = one.shape[1]
    totals, swapped = (one.sum(1), other.sum(1)), (other - one).T

    def difference(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
        # An item's number says whose hits stand here: those of `other` are numbered from `items`.
        moved = (first >= items).astype(float) @ swapped
        return ((totals[0] + moved).max(-1) - (totals[1] - moved).max(-1)) / items

    found = permutation_test(
        (np.arange(items), np.arange(items, 2 * items)),
        difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, _BLOCK // (4 * len(one))),
        rng=keyed_generator(SEED, unit, "swapped vectors", items),
    )
    return float(found.pvalue)


def difference_of_best(one: np.ndarray, other: np.ndarray, unit: str) -> Interval:
    """Interval of the difference between the largest accuracies of two grids, by a bootstrap over their common items.

    Items are drawn in pairs, and the settings are chosen anew in every resample. Where no resample differs from the
    sample, as where neither grid hits anything, it is Newcombe's interval of two shares instead, which has a width.

    one, other: [settings, items] of the same items.
    """
    one, other = _paired(one, other, unit)
    items, drawn = one.shape[1], _drawn(unit, one.shape[1])
    # Settings that hit the same items are one.
    resampled = [(drawn @ np.unique(side, axis=0).T).max(1) / items for side in (one, other)]
    differences = resampled[0] - resampled[1]
    if (differences == differences[0]).all():
        best = [int(side.sum(1).max()) for side in (one, other)]
        ends = confint_proportions_2indep(best[0], items, best[1], items, method="newcomb", compare="diff")
        return Interval(*map(float, ends))
    return Interval(*map(float, np.quantile(differences, _ENDS)))


def _paired(one: np.ndarray, other: np.ndarray, unit: str) -> tuple[np.ndarray, np.ndarray]:
    one, other = np.asarray(one, float), np.asarray(other, float)
    if one.shape[1] != other.shape[1] or one.shape[1] < 2:
        raise OffcourseError(
            f"{unit}: two vectors are compared item by item, on two items or more, but one has {one.shape[1]} and the "
            f"other {other.shape[1]}."
        )
    return one, other
