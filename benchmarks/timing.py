"""Two ways of doing the same, timed turn by turn in one process."""

import statistics
import sys
import time
from collections.abc import Callable

from torch import Tensor

from benchmarks.flops import flops_of, matmul_rate

REPEATS = 5
# Forwards of a naive loop that are timed; the rest of it is scaled from them.
SAMPLE = 6


def interleaved(naive, fast) -> tuple[list[float], list[float], list[float]]:
    """Seconds of both, turn by turn, after one warm-up of each; and the best matmul rate seen between the turns."""
    naive(), fast()
    slow, quick, rates = [], [], []
    for _ in range(REPEATS):
        for call, seconds in ((naive, slow), (fast, quick)):
            started = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - started)
        rates.append(matmul_rate())
    return slow, quick, rates


def compared(name: str, naive: Callable, fast: Callable, expected: Tensor, found: Tensor, scale: float) -> dict:
    """Time two ways of scoring and print the comparison; the program stops if their scores differ.

    expected, found: the same scores, by the naive loop and by the fast way. scale: forwards of the whole naive loop for
    each one that `naive` runs.
    """
    error = float(((found - expected).abs() / expected.abs().clamp_min(1)).max())
    if error > 1e-4:
        sys.exit(f"{name}: scores differ from the naive loop by {error:.1e}")
    slow, quick, rates = interleaved(naive, fast)
    flops = flops_of(fast)
    fewer = f"{flops_of(naive) * scale / flops:.1f} times fewer operations"
    agreement = f"largest difference {error:.1e} of {expected.numel()} scores; {fewer}"
    return report(name, slow, quick, rates, scale, flops, agreement)


def report(name: str, slow, quick, rates, scale: float, flops: float, agreement: str) -> dict:
    """Print one comparison: ratio, times, share of matmul's rate."""
    ratios = [scale * a / b for a, b in zip(slow, quick, strict=True)]
    shares = [flops / seconds / rate for seconds, rate in zip(quick, rates, strict=True)]
    figures = {
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "seconds": statistics.median(quick),
        "naive_seconds": scale * statistics.median(slow),
        "share_of_matmul": statistics.median(shares),
        "share_range": [min(shares), max(shares)],
        "gflop": flops / 1e9,
        "agreement": agreement,
    }
    print(
        f"{name}: {figures['ratio']:.0f} times faster [{min(ratios):.0f}, {max(ratios):.0f}]; "
        f"{figures['seconds']:.3f} s against {figures['naive_seconds']:.1f} s; {flops / 1e9:.0f} GFLOP at "
        f"{figures['share_of_matmul']:.0%} [{min(shares):.0%}, {max(shares):.0%}] of matmul's best rate; {agreement}",
        flush=True,
    )
    return figures
