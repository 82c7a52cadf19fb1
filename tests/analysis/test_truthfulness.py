"""MC1 to MC3 and FACTOR accuracy against their definitions, ties and underflow included."""

import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from harness import harness_mc1, harness_mc2
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from offcourse.analysis import truthfulness as t

SCORES = st.lists(st.sampled_from([-2000.0, -900.0, -3.0, -2.0, -1.5, -0.5]), min_size=1, max_size=4)


@given(SCORES, SCORES)
def test_metrics_follow_their_definitions(true, false):
    best = true[0]
    assert t.mc1(best, false) == (1.0 if best > max(false) else 0.0)
    assert t.factor(best, false) == (0.0 if any(best < other for other in false) else 1.0)
    assert t.mc3(true, false) == pytest.approx(sum(one > max(false) for one in true) / len(true))


def shared(one: float, false: list[float]) -> float:
    """A hit that is split between the answers that share the first place."""
    first = sorted([one, *false])[-1]
    return [one, *false].count(first) ** -1 if one == first else 0.0


@given(SCORES, SCORES)
def test_ties_are_shared_between_the_tied_answers(true, false):
    best = true[0]
    assert t.mc1(best, false, "shared") == t.factor(best, false, "shared") == shared(best, false)
    assert t.mc3(true, false, "shared") == pytest.approx(sum(shared(one, false) for one in true) / len(true))


def test_true_answers_that_tie_each_share_with_the_false_ones():
    assert t.mc3([-1.0, -1.0, -2.0], [-1.0, -3.0]) == 0.0
    assert t.mc3([-1.0, -1.0, -2.0], [-1.0, -3.0], "shared") == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert t.mc3([-1.0], [-1.0, -1.0], "shared") == pytest.approx(1 / 3)


@given(SCORES, SCORES)
def test_mc1_and_mc2_are_those_of_lm_evaluation_harness_but_for_ties_and_underflow(true, false):
    best, likely = true[0], max(true) > -700 and max(false) > -700
    if best != max(false):
        assert t.mc1(best, false) == harness_mc1([best, *false])
    if likely:
        labels = [1] * len(true) + [0] * len(false)
        for exact in (False, True):
            assert t.mc2(np.array(true), np.array(false), exact) == pytest.approx(harness_mc2(true + false, labels))


def test_a_tie_is_right_for_lm_evaluation_harness_wrong_for_the_released_code_and_shared_for_us():
    assert harness_mc1([-1.0, -1.0, -2.0]) == 1.0
    assert t.mc1(-1.0, [-1.0, -2.0]) == 0.0
    assert t.mc1(-1.0, [-1.0, -2.0], "shared") == 0.5


def test_mc2_as_published_halves_a_side_that_underflows_and_drops_one_that_overflows():
    assert t.mc2(np.array([-2000.0]), np.array([-1.0])) == pytest.approx(
        math.exp(-500) / (math.exp(-500) + math.exp(-1)), rel=1e-9
    )
    assert t.mc2(np.array([-np.inf]), np.array([-np.inf])) == 0.0
    # Certain, but infinity / infinity.
    assert t.mc2(np.array([800.0]), np.array([1.0])) == 0.0


ANY = st.lists(st.floats(-3000, 3000), min_size=1, max_size=4)


@given(ANY, ANY)
def test_mc2_in_float64_is_the_share_whatever_the_scores(true, false):
    """Decimals neither overflow nor underflow here."""
    numerator, rest = (sum(Decimal(score).exp() for score in side) for side in (true, false))
    assert t.mc2(np.array(true), np.array(false), exact=True) == pytest.approx(float(numerator / (numerator + rest)))


def test_mc2_in_float64_of_scores_that_over_and_underflow():
    assert t.mc2(np.array([800.0]), np.array([1.0]), exact=True) == 1.0
    assert t.mc2(np.array([-2000.0, -2001.0]), np.array([-2000.0]), exact=True) == pytest.approx(
        (1 + math.exp(-1)) / (2 + math.exp(-1))
    )
    assert t.mc2(np.array([-2000.0]), np.array([-1.0]), exact=True) == 0.0
    assert t.mc2(np.array([-np.inf]), np.array([-np.inf]), exact=True) == 0.0


def test_removed_tokens_count_before_scores():
    scores, masked = np.array([-1.0, -50.0, -60.0]), np.array([1, 0, 0])
    assert t.order(scores, masked, removed=True).tolist() == [0, 2, 1]
    assert t.order(scores, masked, removed=False).tolist() == [2, 1, 0]


def frame(rows) -> pd.DataFrame:
    columns = ["question", "answer", "kind", "tokens", "bucket", "alpha", "variant", "score", "masked_tokens"]
    return pd.DataFrame(rows, columns=columns)


# Scores that tie, underflow and overflow; (score, masked tokens) of an answer.
SCORED = st.tuples(st.sampled_from([-np.inf, -2000.0, -30.0, -1.5, -1.0, 0.0, 800.0]), st.integers(0, 2))


@given(
    st.lists(
        st.tuples(st.lists(SCORED, min_size=1, max_size=10), st.lists(SCORED, min_size=1, max_size=10)), min_size=1
    ),
    st.booleans(),
    st.booleans(),
)
def test_all_questions_at_once_are_each_question_by_itself(questions, removed, exact):
    rows = []
    for number, (true, false) in enumerate(questions):
        kinds = ["best", *["true"] * (len(true) - 1), *["false"] * len(false)]
        for answer, (kind, (score, masked)) in enumerate(zip(kinds, [*true, *false], strict=True)):
            rows.append((number, answer, kind, 3, "0-50", 0.1, "softmax", score, masked))
    found = t.per_question(frame(rows), removed, exact)
    assert list(found["question"]) == list(range(len(questions)))
    for (true, false), row in zip(questions, found.to_dict("records"), strict=True):
        least = min(masked for _, masked in [*true, *false])
        ranks = [[(-masked, score) if removed else score for score, masked in side] for side in (true, false)]
        places = {rank: place for place, rank in enumerate(sorted({*ranks[0], *ranks[1]}))}
        ours, theirs = ([places[rank] for rank in side] for side in ranks)
        for ties, end in (("as_coded", ""), ("shared", "_shared")):
            assert row[f"mc1{end}"] == t.mc1(ours[0], theirs, ties)
            assert row[f"mc3{end}"] == t.mc3(ours, theirs, ties)
            assert row[f"factor{end}"] == t.factor(ours[0], theirs, ties)
        kept = [
            np.array([-np.inf if removed and masked > least else score for score, masked in side])
            for side in (true, false)
        ]
        assert row["mc2"] == t.mc2(*kept, exact)
        assert row["tied"] == (ours[0] == max(theirs)) and row["best_masked"] == (true[0][1] > 0)


def test_every_question_and_setting_has_a_row():
    rows = []
    for variant, shift in (("base", 0.0), ("softmax", -1000.0)):
        rows += [
            (0, 0, "best", 2, "0-50", 0.1, variant, -1.0 + shift, int(shift < 0)),
            (0, 1, "true", 2, "0-50", 0.1, variant, -3.0, 0),
            (0, 2, "false", 2, "0-50", 0.1, variant, -2.0, 0),
            (0, 3, "false", 2, "0-50", 0.1, variant, -3.0, 0),
            (1, 0, "best", 1, "0-50", 0.1, variant, -2.0, 0),
            (1, 1, "false", 1, "0-50", 0.1, variant, -2.0, 0),
        ]
    found = t.per_question(frame(rows)).set_index(["variant", "question"])
    assert found.loc[("base", 0), ["mc1", "mc3", "factor"]].tolist() == [1.0, 0.5, 1.0]
    assert found.loc[("softmax", 0), ["mc1", "mc3", "factor"]].tolist() == [0.0, 0.0, 0.0]
    assert found.loc[("base", 1), ["mc1", "mc1_shared", "factor", "factor_shared"]].tolist() == [0.0, 0.5, 1.0, 0.5]
    assert found["tied"].tolist() == [False, True, False, True]
    assert found["best_masked"].tolist() == [False, False, True, False]


def test_with_removed_tokens_mc2_is_among_the_answers_that_lost_fewest():
    def share(*masked) -> float:
        kinds = ("best", "true", "false")
        rows = [(0, i, kinds[i], 2, "0-50", 0.5, "softmax", -1.0 - i, masked[i]) for i in range(3)]
        return t.per_question(frame(rows), removed=True)["mc2"].item()

    e = [math.exp(-1.0 - i) for i in range(3)]
    assert share(0, 0, 0) == pytest.approx((e[0] + e[1]) / sum(e))
    assert share(1, 0, 0) == pytest.approx(e[1] / (e[1] + e[2]))
    assert share(1, 1, 0) == 0.0
    assert share(1, 2, 1) == pytest.approx(e[0] / (e[0] + e[2]))


def test_mcnemar_is_the_exact_paired_test():
    rng = np.random.default_rng(0)
    base, other = rng.integers(0, 2, 60), rng.integers(0, 2, 60)
    table = [[sum((base == a) & (other == b)) for b in (1, 0)] for a in (1, 0)]
    assert t.mcnemar(base, other) == pytest.approx(reference_mcnemar(table, exact=True).pvalue)
    assert t.mcnemar([1, 0], [1, 0]) == 1.0


def test_mcnemar_takes_a_shared_tie_as_more_than_a_miss_and_less_than_a_hit():
    base, other = [0.0, 0.5, 1.0, 0.5, 1.0], [0.5, 1.0, 1.0, 0.5, 0.5]
    assert t.mcnemar(base, other) == pytest.approx(t.mcnemar([0, 0, 1, 1, 1], [1, 1, 1, 1, 0]))
