"""Floating-point operations of a pass, and the best rate of `torch.matmul` at the model's own shapes."""

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def flops_of(call: Callable[[], object]) -> int:
    """Multiplications and additions of the matrix products that `call` makes, as torch counts them."""
    counter = FlopCounterMode(display=False)
    with counter:
        call()
    return counter.get_total_flops()


def matmul_rate(width: int = 576, inner: int = 1536, rows: int = 512) -> float:
    """Best FLOP/s of a product at SmolLM2's feed-forward shapes, over a few tries, threads as set."""
    best = 0.0
    for k, n in ((width, inner), (inner, width), (width, width)):
        a, b = torch.randn(rows, k), torch.randn(n, k)
        out = torch.empty(rows, n)
        for _ in range(4):
            started = time.perf_counter()
            for _ in range(4):
                torch.mm(a, b.T, out=out)
            best = max(best, 4 * 2 * rows * k * n / (time.perf_counter() - started))
    return best
