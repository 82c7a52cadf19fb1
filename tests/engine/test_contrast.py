"""The normaliser of the words that pass alpha: over those words alone, as on a CPU, and over all words, as on a GPU."""

import pytest
import torch

from offcourse.engine.contrast import _over, _passing

GENERATOR = torch.Generator().manual_seed(4)


@pytest.mark.parametrize("alpha", [0.001, 0.1, 1.0])
def test_words_that_do_not_pass_change_no_normaliser(alpha):
    log_p = (torch.randn(5, 700, generator=GENERATOR) * 3).log_softmax(-1)
    log_q = (torch.randn(3, 5, 700, generator=GENERATOR) * 3).log_softmax(-1)
    columns, passes = _passing(log_p, log_p.amax(-1), alpha)
    assert 0 < len(columns) < 700
    everything = None, log_p >= log_p.amax(-1, keepdim=True) + float(torch.tensor(alpha).log())
    expected = torch.stack(
        [
            torch.stack(
                [
                    (p - q)[p.exp() >= alpha * p.exp().max() * (1 - 1e-6)].logsumexp(0)
                    for p, q in zip(log_p, each, strict=True)
                ]
            )
            for each in log_q
        ]
    )
    torch.testing.assert_close(_over(log_p, log_q, columns, passes), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(_over(log_p, log_q, *everything), expected, rtol=1e-5, atol=1e-5)
