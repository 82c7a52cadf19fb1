"""Intervals, corrections and maxima by luck against slow loops, exact enumeration and simulated data."""

import itertools
import math

import coverage_of_intervals as coverage
import luck_of_directions as luck
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from statsmodels.stats.multitest import multipletests

from offcourse.analysis import inference as i
from offcourse.analysis.recovery import reaches
from offcourse.data.draws import keyed_generator
from offcourse.errors import OffcourseError


def binomial(k: int, n: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


# Over items.


def test_over_items_is_the_percentile_bootstrap_of_a_plain_loop():
    values = np.random.default_rng(0).random(20)
    random = np.random.default_rng(1)
    means = [np.mean([values[random.integers(20)] for _ in range(20)]) for _ in range(4000)]
    found = i.over_items(values, "antonym")
    assert found == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.01)


def test_over_items_of_a_proportion_is_that_of_the_binomial_distribution():
    found = i.over_items([1.0] * 30 + [0.0] * 70, "antonym")
    cumulated = np.cumsum([binomial(k, 100, 0.3) for k in range(101)])
    assert found == pytest.approx(tuple(np.searchsorted(cumulated, [0.025, 0.975]) / 100), abs=0.01)


def test_draws_depend_on_the_unit_and_its_size_alone():
    values = np.random.default_rng(0).random(30)
    assert i.over_items(values, "antonym") == i.over_items(values, "antonym")
    assert i.over_items(values, "antonym") != i.over_items(values, "present-past")
    shifted = i.over_items(values + 1, "antonym")
    assert np.subtract(shifted, 1) == pytest.approx(i.over_items(values, "antonym"))


@pytest.mark.parametrize("items", [2, 6, 24, 817])
def test_items_that_are_all_alike_have_an_end_beyond_them_and_one_item_no_interval(items):
    """By Wilson's formula: of none among n, z^2 / (n + z^2) may be otherwise."""
    other = 1.959964**2 / (items + 1.959964**2)
    assert i.over_items([0.0] * items, "a") == pytest.approx((0.0, other), rel=1e-5)
    assert i.over_items([1.0] * items, "a") == pytest.approx((1 - other, 1.0), rel=1e-5)
    assert i.over_items([0.25] * items, "a") == pytest.approx((0.25 - 0.25 * other, 0.25 + 0.75 * other), rel=1e-5)
    # No question differs: some others may, in either direction.
    assert i.over_items([0.0] * items, "a", (-1.0, 1.0)) == pytest.approx((-other, other), rel=1e-5)
    with pytest.raises(OffcourseError, match="antonym.*at least two"):
        i.over_items([1.0], "antonym")


def test_few_items_that_differ_leave_an_end_no_nearer_than_items_that_are_alike():
    """Of one item among 40 the bootstrap ends at 0.075, nearer than where none differs at all."""
    w = 1.959964**2 / (40 + 1.959964**2)
    one = np.array([1.0] + [0.0] * 39)
    assert i.over_items(one, "u", (-1.0, 1.0)).high == pytest.approx(3 / 40)
    assert i.difference_over_items(one, "u") == pytest.approx((1 / 40 - w, 1 / 40 + w), rel=1e-5)
    # Where many differ, the bootstrap is wider.
    many = np.array([1.0, -1.0] * 20)
    assert i.difference_over_items(many, "u") == i.over_items(many, "u", (-1.0, 1.0))
    for same in (0.0, 1.0, -1.0):
        alike = i.over_items([same] * 40, "u", (-1.0, 1.0))
        assert i.difference_over_items(np.full(40, same), "u") == pytest.approx(alike)
    for metric in ("mc2", "mc3"):
        assert i.difference_over_items(one, "u", metric) == i.over_items(one, "u", (-1.0, 1.0))
    assert i.difference_over_items(one, "u", "mc1") == i.difference_over_items(one, "u")
    almost = i.difference_over_items(np.array([1.0] * 39 + [0.9]), "u")
    assert almost.high == 1.0 and almost.low < 1 - w


def test_pairs_that_differ_alike_have_an_interval_and_others_that_of_the_bootstrap():
    alike = pd.DataFrame(np.zeros((3, 2)), index=list("abc"))
    assert i.difference_of_pairs(alike, "pairs") == i.over_items(np.zeros(6), "pairs", (-1.0, 1.0))
    assert i.mean_of_pairs(alike, "pairs") == pytest.approx(i.wilson([0.0] * 6)) and i.wilson([0.0] * 6)[1] > 0.3
    mixed = alike.copy()
    mixed.iloc[0, 0] = 1.0
    assert i.difference_of_pairs(mixed, "pairs") == i.over_models_and_tasks(mixed, "pairs")


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_the_spread_of_pairs_equals_the_plain_loop(missing):
    random = np.random.default_rng(4)
    table = random.random((10, 5)) * 100
    table[random.random((10, 5)) < missing] = np.nan
    value, low, high = i.spread_of_pairs(pd.DataFrame(table), 0.8, "pairs")
    known = np.sort(table[~np.isnan(table)])
    assert value == pytest.approx(np.quantile(known, 0.9) - np.quantile(known, 0.1))
    widths = []
    for _ in range(1500):
        models, tasks = random.integers(10, size=10), random.integers(5, size=5)
        drawn = [table[m, t] for m in models for t in tasks if not np.isnan(table[m, t])]
        widths.append(np.quantile(drawn, 0.9) - np.quantile(drawn, 0.1))
    assert (low, high) == pytest.approx(tuple(np.quantile(widths, [0.025, 0.975])), abs=4)


def test_the_largest_correlation_equals_the_plain_loop_over_families():
    random = np.random.default_rng(5)
    families = [f"f{k // 2}" for k in range(20)]
    values, facts = random.random(20), {"a": random.random(20), "b": np.repeat([0.0, 1.0], 10), "c": np.ones(20)}
    values = values + facts["b"]
    found = i.largest_correlation(values, facts, families)
    assert found.fact == "b" and found.value == pytest.approx(abs(spearmanr(values, facts["b"])[0]))
    drawn = {"a": [], "b": []}
    for _ in range(1500):
        kept = [k for f in random.integers(10, size=10) for k in range(20) if families[k] == f"f{f}"]
        for name, each in drawn.items():
            if len(set(facts[name][kept])) > 1:
                each.append(spearmanr(values[kept], facts[name][kept])[0])
    # Two facts vary: each has a level of 97.5 %.
    ends = {name: np.quantile(each, [0.0125, 0.9875]) for name, each in drawn.items()}
    assert ends["a"][0] < 0 < ends["a"][1]
    assert (found.low, found.high) == pytest.approx((ends["b"][0], max(ends["b"][1], *abs(ends["a"]))), abs=0.05)
    assert np.isnan(i.largest_correlation(values, {"c": facts["c"]}, families).value)


# Over models and tasks.


def test_the_simulation_of_coverage_knows_the_truth_and_finds_what_the_docs_say():
    """Five models and more hold what they say; a few repetitions of the table in docs/statistics.md."""
    random = np.random.default_rng(0)
    for case, (middle, of_models, of_tasks) in coverage.CASES.items():
        logits = middle + random.normal(0, of_models, 400_000) + random.normal(0, of_tasks, 400_000)
        mean = (1 / (1 + np.exp(-logits))).mean()
        assert coverage.true_share(middle, of_models, of_tasks) == pytest.approx(mean, abs=0.002), case
        alike = coverage.draw(random, 300, 300, middle, 0, 0).mean()
        assert alike == pytest.approx(1 / (1 + np.exp(-middle)), abs=0.01), case
    alone, both = coverage.coverage(2, 4, "few are so", repetitions=150, resamples=300)
    assert alone < 0.85 < both
    assert coverage.coverage(10, 9, "both differ", repetitions=150, resamples=300)[0] > 0.88


def test_the_simulation_of_luck_has_nothing_to_find_and_finds_what_the_docs_say():
    """A few repetitions of the table in docs/statistics.md: errors are fewer against more random directions."""
    alike, one, ten = (
        luck.better_than_luck(number, 40, spread, repetitions=60) for number, spread in ((1, 0.0), (1, 1.0), (10, 1.0))
    )
    assert alike < 0.06 and ten < 0.1 <= one


def slow_pigeonhole(table: np.ndarray, random, resamples: int) -> list[float]:
    models, tasks = table.shape
    means = []
    for _ in range(resamples):
        rows, columns = random.integers(models, size=models), random.integers(tasks, size=tasks)
        drawn = [table[row, column] for row in rows for column in columns if not np.isnan(table[row, column])]
        if drawn:
            means.append(sum(drawn) / len(drawn))
    return means


@pytest.mark.parametrize("missing", [0, 9])
def test_over_models_and_tasks_equals_the_plain_loop(missing):
    random = np.random.default_rng(3)
    table = random.random((6, 4))
    table.flat[random.choice(24, missing, replace=False)] = np.nan
    slow = np.quantile(slow_pigeonhole(table, random, 5000), [0.025, 0.975])
    assert i.over_models_and_tasks(pd.DataFrame(table), "share") == pytest.approx(slow, abs=0.015)


def test_it_covers_where_pairs_of_a_model_are_alike_and_wilson_does_not():
    """Each model recovers everything or nothing, so there are as many independent numbers as models, not as pairs."""
    inside, narrow = 0, 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        table = np.repeat(random.random((12, 1)) < 0.5, 9, axis=1).astype(float)
        low, high = i.over_models_and_tasks(pd.DataFrame(table), f"share {seed}", resamples=1000)
        inside += low <= 0.5 <= high
        narrow += abs(table.mean() - 0.5) <= 1.96 * math.sqrt(0.25 / table.size)
    assert inside >= 52 and narrow <= 40


def test_there_must_be_a_pair():
    with pytest.raises(OffcourseError, match="no model-task pair"):
        i.over_models_and_tasks(pd.DataFrame([[np.nan]]), "share")


# Corrections.


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_equals_its_definition(p_values):
    found, largest = i.holm(p_values), 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, at in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[at])
        assert found[at] == pytest.approx(min(1.0, largest))


def test_holm_equals_statsmodels():
    p_values = [0.04, 0.011, 0.3, 0.011, 1.0, 0.0, 0.02]
    assert i.holm(p_values) == multipletests(p_values, method="holm")[1].tolist()


# Maxima by luck.


@given(st.floats(0, 1), st.integers(1, 4), st.integers(1, 3), st.integers(0, 4))
@settings(deadline=None)
def test_the_largest_of_independent_settings_equals_enumeration(accuracy, items, grid, count):
    found = min(count, items) / items
    mean, p = 0.0, 0.0
    distribution = dict.fromkeys(range(items + 1), 0.0)
    for counts in itertools.product(range(items + 1), repeat=grid):
        probability = math.prod(binomial(k, items, accuracy) for k in counts)
        mean += probability * max(counts) / items
        p += probability * (max(counts) / items >= found)
        distribution[max(counts)] += probability
    luck = i.largest_of_independent(accuracy, items, grid, found)
    assert luck.mean == pytest.approx(mean, abs=1e-9) and luck.p == pytest.approx(p, abs=1e-9)
    below = sum(share for k, share in distribution.items() if k / items < luck.high)
    assert below <= 0.95 + 1e-9
    assert below + distribution[round(luck.high * items)] >= 0.95 - 1e-9


def test_the_study_s_grid_by_luck():
    """56 settings x 32 layers on 50 items, from one correct answer in ten: the best of them has about three in ten."""
    luck = i.largest_of_independent(0.1, 50, 56 * 32, 0.5)
    random = np.random.default_rng(0)
    drawn = random.binomial(50, 0.1, size=(2000, 56 * 32)).max(1) / 50
    assert luck.mean == pytest.approx(drawn.mean(), abs=0.003) and 0.26 < luck.mean < 0.3
    assert luck.high == pytest.approx(np.quantile(drawn, 0.95), abs=0.021)
    assert 0 < luck.p < 1e-8


def test_what_was_found_is_met_as_the_table_meets_it():
    """18 of 50 reach 0.9 of 20 of 50, though 0.9 * 0.4 > 0.36 in binary floating point."""
    assert reaches(0.36, 0.9, 0.4)
    at_least = sum(binomial(k, 50, 0.3) for k in range(18, 51))
    assert i.largest_of_independent(0.3, 50, 1, 0.9 * 0.4).p == pytest.approx(at_least)


def slow_swaps(base: np.ndarray, hits: np.ndarray) -> list[float]:
    """The largest gain under every one of the 2^items swaps, setting by setting."""
    largest = []
    for swap in itertools.product((False, True), repeat=len(base)):
        gains = []
        for setting in hits:
            without, steered = base.copy(), setting.copy()
            for item, swapped in enumerate(swap):
                if swapped:
                    without[item], steered[item] = steered[item], without[item]
            gains.append(steered.mean() - without.mean())
        largest.append(max(gains))
    return largest


def test_swapping_equals_every_swap_one_by_one():
    random = np.random.default_rng(2)
    base, hits = random.random(8) < 0.4, random.random((5, 8)) < 0.6
    every = np.array(slow_swaps(base.astype(float), hits.astype(float)))
    found = (hits.astype(float) - base).mean(1).max()
    luck = i.largest_by_swapping(base, hits, "antonym")
    assert luck.mean == pytest.approx(every.mean(), abs=0.01)
    assert luck.p == pytest.approx((every >= found - 1e-9).mean(), abs=0.02)


def test_swapping_is_the_same_in_blocks(monkeypatch):
    random = np.random.default_rng(2)
    base, hits = random.random(50) < 0.4, random.random((40, 50)) < 0.45
    whole = i.largest_by_swapping(base, hits, "antonym")
    monkeypatch.setattr(i, "_BLOCK", 40 * 7)
    assert i.largest_by_swapping(base, hits, "antonym") == whole


def test_swapping_rejects_a_true_null_rarely_and_a_better_setting_surely():
    """200 settings that share their items' difficulty with the model without steering."""
    rejected = 0
    for seed in range(40):
        random = keyed_generator(0, "null", "test", seed)
        skill = random.random(50)
        base, hits = random.random(50) < skill, random.random((200, 50)) < skill
        rejected += i.largest_by_swapping(base, hits, f"null {seed}", resamples=500).p <= 0.05
    assert rejected <= 6
    hits[17] = True
    assert i.largest_by_swapping(base, hits, "better", resamples=500).p < 0.01


def test_settings_that_agree_have_less_luck_than_independent_ones():
    random = np.random.default_rng(0)
    base, one = random.random(50) < 0.3, random.random(50) < 0.3
    same = i.largest_by_swapping(base, np.repeat(one[None], 500, axis=0), "same")
    other = i.largest_by_swapping(base, random.random((500, 50)) < 0.3, "other")
    assert same.mean < 0.1 * other.mean


def test_items_must_pair():
    with pytest.raises(OffcourseError, match="antonym: 3 items without steering"):
        i.largest_by_swapping(np.zeros(3), np.zeros((2, 4)), "antonym")


def test_pairs_by_luck_counts_them_one_by_one():
    pairs = pd.DataFrame({"zero_shot": [0.0, 0.2], "few_shot": [0.5, 0.5], "items": [50, 42], "settings": [100, 100]})
    expected = 1 - sum(binomial(k, 42, 0.2) for k in range(16)) ** 100  # 0.75 of 0.5 is 15.75 of 42
    assert i.pairs_by_luck(pairs, 0.75) == pytest.approx(expected)
    # An accuracy of 0 is reached by anything, as in Table 3.
    assert i.pairs_by_luck(pairs.assign(few_shot=0.0), 0.5) == 2
