"""MC1 to MC3 and FACTOR accuracy against their definitions, ties and underflow included."""

import math

import numpy as np
import pandas as pd
import pytest
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
    for one, rule in ((t.mc1, "as_coded"), (t.factor, "as_coded")):
        shared, coded = one(best, false, "shared"), one(best, false, rule)
        if best == max(false):
            assert shared == 1 / (1 + false.count(best))
        else:
            assert shared == coded


@given(SCORES, SCORES)
def test_mc2_is_the_share_of_probability_unless_a_side_underflows(true, false):
    share = t.mc2(np.array(true), np.array(false))
    assert 0 <= share <= 1
    if max(true) > -700 and max(false) > -700:
        numerator = sum(math.exp(score) for score in true)
        # lm-evaluation-harness normalises over all answers and sums the true ones.
        assert share == pytest.approx(numerator / (numerator + sum(math.exp(score) for score in false)))


def test_mc2_halves_a_side_that_underflows():
    assert t.mc2(np.array([-2000.0]), np.array([-1.0])) == pytest.approx(
        math.exp(-500) / (math.exp(-500) + math.exp(-1)), rel=1e-9
    )
    assert t.mc2(np.array([-np.inf]), np.array([-np.inf])) == 0.0


def test_removed_tokens_count_before_scores():
    scores, masked = np.array([-1.0, -50.0, -60.0]), np.array([1, 0, 0])
    assert t.order(scores, masked, removed=True).tolist() == [0, 2, 1]
    assert t.order(scores, masked, removed=False).tolist() == [2, 1, 0]


def frame(rows) -> pd.DataFrame:
    columns = ["question", "answer", "kind", "tokens", "bucket", "alpha", "variant", "score", "masked_tokens"]
    return pd.DataFrame(rows, columns=columns)


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


def test_mcnemar_is_the_exact_paired_test():
    rng = np.random.default_rng(0)
    base, other = rng.integers(0, 2, 60), rng.integers(0, 2, 60)
    table = [[sum((base == a) & (other == b)) for b in (1, 0)] for a in (1, 0)]
    assert t.mcnemar(base, other) == pytest.approx(reference_mcnemar(table, exact=True).pvalue)
    assert t.mcnemar([1, 0], [1, 0]) == 1.0
