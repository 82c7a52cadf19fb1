import itertools

import numpy as np
import pandas as pd
import pytest

from offcourse.analysis import recovery
from offcourse.errors import OffcourseError


def sweep_of(hits: dict[tuple, int], items: int = 50) -> pd.DataFrame:
    """A sweep in which setting and layer `key` hits the first `hits[key]` items."""
    rows = [(*key, item, item < count) for key, count in hits.items() for item in range(items)]
    return pd.DataFrame(rows, columns=["n_heads", "strength", "layer", "item", "hit"])


def random_counts(seed: int, items: int) -> dict[tuple, int]:
    random = np.random.default_rng(seed)
    return {key: int(random.integers(items + 1)) for key in itertools.product((2, 16), (0.5, 4.0), range(5))}


@pytest.mark.parametrize("items", [50, 42])
def test_accuracy_is_hits_over_items(items):
    counts = random_counts(1, items)
    shuffled = sweep_of(counts, items).sample(frac=1, random_state=0)
    table = recovery.accuracy(shuffled)
    assert list(table.columns) == ["n_heads", "strength", "layer", "accuracy", "n"]
    assert [tuple(row[:3]) for row in table.itertuples(index=False)] == sorted(counts)
    assert table["accuracy"].tolist() == [counts[key] / items for key in sorted(counts)]
    assert set(table["n"]) == {items}


@pytest.mark.parametrize("seed", range(3))
def test_peak_and_average_recovery_against_plain_loops(seed):
    counts = random_counts(seed, 50)
    table = recovery.accuracy(sweep_of(counts))
    peak = average = 0.0
    for n_heads, strength in itertools.product((2, 16), (0.5, 4.0)):
        line = [counts[n_heads, strength, layer] / 50 for layer in range(5)]
        peak, average = max(peak, max(line)), max(average, sum(line) / len(line))
    assert recovery.peak_recovery(table, 0.7) == pytest.approx(peak / 0.7)
    assert recovery.average_recovery(table, 0.7) == pytest.approx(average / 0.7)


def test_recovery_of_nothing_is_undefined():
    table = recovery.accuracy(sweep_of({(2, 1.0, 0): 10}))
    assert np.isnan(recovery.peak_recovery(table, 0.0))
    assert np.isnan(recovery.average_recovery(table, 0.0))


def test_reaches_is_exact_on_counts():
    """All fractions of 50 and 42 items and the table's quantiles, against whole-number arithmetic."""
    for percent, items in itertools.product((50, 75, 90, 100), (50, 42)):
        for best, few_shot in itertools.product(range(items + 1), repeat=2):
            expected = 100 * best >= percent * few_shot
            assert recovery.reaches(best / items, percent / 100, few_shot / items) is expected


def test_baseline_is_five_shot_or_the_most_there_is():
    assert recovery.baseline(pd.Series({0: 0.1, 5: 0.6, 10: 0.7})) == (5, 0.6)
    assert recovery.baseline(pd.Series({0: 0.1, 1: 0.2, 2: 0.3})) == (2, 0.3)
    with pytest.raises(OffcourseError, match="5 shots are the baseline"):
        recovery.baseline(pd.Series({0: 0.1, 10: 0.7}))
