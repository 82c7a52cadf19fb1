"""Floating-point operations of a pass, and the best rate of `torch.matmul` at the model's own shapes."""

import time

import torch


def model_flops(model, tokens: int, joins: dict[int, int], unembedded: int) -> float:
    """Multiplications and additions of the weight matrices (attention scores and elementwise work left out).

    tokens: prompt tokens, which pass every block. joins: rows that join at the input of each block. unembedded: states
    that are unembedded.
    """
    per_token = [
        sum(2 * parameter.numel() for parameter in block.parameters() if parameter.dim() == 2) for block in model.blocks
    ]
    total, width = 0.0, tokens
    for layer, flops in enumerate(per_token):
        width += joins.get(layer, 0)
        total += width * flops
    return total + unembedded * 2 * model.head.weight.numel()


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
