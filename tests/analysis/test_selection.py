"""Choosing on one half and reporting on the other, against plain loops, and why it matters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offcourse.analysis import selection as s
from offcourse.data.draws import keyed_generator
from offcourse.errors import OffcourseError

HITS = st.integers(2, 9).flatmap(
    lambda items: st.lists(st.lists(st.booleans(), min_size=items, max_size=items), min_size=1, max_size=5)
)


def slow_halves(hits: list[list[bool]], unit: str) -> float:
    """Item by item: hit in the setting that has most hits among the items of the other half; mean over everything."""
    items, total = range(len(hits[0])), 0
    for halving in range(20):
        place = keyed_generator(0, unit, "halving", halving).permutation(len(items))
        half_of = {item: place[item] < len(items) // 2 for item in items}
        for item in items:
            others = [other for other in items if half_of[other] != half_of[item]]
            counts = [sum(setting[other] for other in others) for setting in hits]
            total += hits[counts.index(max(counts))][item]
    return total / (20 * len(items))


@given(HITS)
def test_halves_equal_the_plain_loops(hits):
    found = s.best_accuracy(np.array(hits), s.repetitions("halves", "antonym", len(hits[0])))
    assert found == pytest.approx(slow_halves(hits, "antonym"))


@given(HITS)
def test_on_the_same_items_it_is_the_largest_accuracy(hits):
    found = s.best_accuracy(np.array(hits), s.repetitions("same_items", "antonym", len(hits[0])))
    assert found == pytest.approx(max(sum(setting) / len(setting) for setting in hits))


@pytest.mark.parametrize("items", [2, 7, 50])
def test_every_item_is_reported_once_per_halving_without_having_been_chosen_on(items):
    halvings = s.repetitions("halves", "antonym", items)
    assert len(halvings) == 20
    for directions in halvings:
        assert len(directions) == 2
        assert (sum(reported.astype(int) for _, reported in directions) == 1).all()
        for chosen_on, reported_on in directions:
            assert (chosen_on != reported_on).all()
            assert chosen_on.sum() in (items // 2, items - items // 2)


def test_halvings_depend_on_the_task_and_its_size_alone():
    def masks(unit, items):
        return [half.tolist() for directions in s.repetitions("halves", unit, items) for half, _ in directions]

    assert masks("antonym", 50) == masks("antonym", 50)
    assert masks("antonym", 50) != masks("present-past", 50)
    assert len({tuple(half) for half in masks("antonym", 50)}) == 40


def test_on_noise_the_published_choice_is_optimistic_and_halves_are_not():
    """1,000 settings that all hit with probability 0.3, as many as a small sweep has, on 50 items; 20 such sweeps."""
    random = np.random.default_rng(0)
    sweeps = [random.random((1000, 50)) < 0.3 for _ in range(20)]
    same, halves = (
        np.mean([s.best_accuracy(hits, s.repetitions(selection, f"noise {i}", 50)) for i, hits in enumerate(sweeps)])
        for selection in ("same_items", "halves")
    )
    assert same > 0.48
    assert abs(halves - 0.3) < 0.02


def test_a_setting_that_is_truly_best_is_found_either_way():
    random = np.random.default_rng(0)
    hits = random.random((100, 50)) < 0.2
    hits[37] = random.random(50) < 0.9
    for selection in ("same_items", "halves"):
        assert s.best_accuracy(hits, s.repetitions(selection, "antonym", 50)) == pytest.approx(hits[37].mean())


def test_one_item_cannot_be_halved():
    with pytest.raises(OffcourseError, match="antonym: protocol selection: halves needs at least two items"):
        s.repetitions("halves", "antonym", 1)
