"""Exponentials that stay fast where they underflow.

Before the final norm, logits of premature layers lie hundreds apart. On a CPU `torch.exp` takes about fifteen times as
long for an argument whose result underflows, which most of a vocabulary's then do. Such arguments are raised to the
smallest whose result is a normal float32: a change of 2e-38 in terms that are summed with others of at least 1.
"""

from torch import Tensor

LOWEST = -87.0


def exp_(values: Tensor) -> Tensor:
    """Exponentials of `values` (float32), in place. None is smaller than exp(-87), about 2e-38."""
    return values.clamp_min_(LOWEST).exp_()


def log_sum_exp_(values: Tensor) -> Tensor:
    """Logarithm of the sum of exponentials over the last axis of `values` (float32), which are overwritten.

    Each row of `values` needs at least one finite value.
    """
    largest = values.amax(-1, keepdim=True)
    return exp_(values.sub_(largest)).sum(-1).log_().add_(largest[..., 0])
