"""Exponentials that underflow: the same sums as in float64."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from offcourse.engine.exponentials import exp_, log_sum_exp_


@given(st.lists(st.floats(-2000, 2000, width=32), min_size=1, max_size=50))
def test_the_sum_is_that_of_float64(values):
    expected = torch.tensor(values, dtype=torch.float64).logsumexp(0)
    got = log_sum_exp_(torch.tensor([values]))[0]
    torch.testing.assert_close(got.double(), expected, rtol=1e-6, atol=1e-6)


def test_words_that_are_left_out_add_nothing():
    got = log_sum_exp_(torch.tensor([[1.0, float("-inf"), 2.0]]))
    torch.testing.assert_close(got, torch.tensor([[1.0, 2.0]]).logsumexp(-1))


def test_what_underflows_stays_a_normal_number():
    got = exp_(torch.tensor([0.0, -1.0, -86.0, -90.0, -1000.0]))
    torch.testing.assert_close(got[:3], torch.tensor([0.0, -1.0, -86.0]).exp())
    assert (got[3:] >= torch.finfo(torch.float32).tiny).all() and (got[3:] < 2e-38).all()
