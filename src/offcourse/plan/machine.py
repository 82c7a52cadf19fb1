"""What a pass depends on, measured on this machine: products, memory, elementwise work, starting an operation, loading.

It needs torch and safetensors alone, so that a GPU image without the workflow's packages can measure its card.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

# Width, feed-forward width and few and many rows of the products, by device: between them lies what a pass does.
SHAPES = {"cpu": (640, 2048, 16, 512), "gpu": (4096, 11008, 16, 4096)}
MATRICES = {"cpu": 24, "gpu": 8}  # together more than the caches hold, as a model's are
# Tokens of a block's activations, and words of a slice of the vocabulary: what one operation works on.
ELEMENTWISE = {"cpu": (300, 256), "gpu": (4096, 4096)}
LOADED = {"cpu": 256 << 20, "gpu": 1 << 30}  # bytes of the weights that are loaded
REPEATS = 9


def device_rates(device: str, scratch: Path) -> dict[str, float]:
    """The fields of `plan.rates.Rates` that passes depend on. device: "gpu" or "cpu"; scratch: a folder."""
    import torch

    place = "cuda" if device == "gpu" else "cpu"
    wait = torch.cuda.synchronize if device == "gpu" else (lambda: None)
    width, inner, few, many = SHAPES[device]

    def seconds(call: Callable[[], object], times: int = 1) -> float:
        """Median seconds of one call: a job gets what is usual, not what is best."""
        call()
        found = []
        for _ in range(REPEATS):
            wait()
            begin = time.perf_counter()
            for _ in range(times):
                call()
            wait()
            found.append((time.perf_counter() - begin) / times)
        return statistics.median(found)

    def products(dtype) -> tuple[float, float]:
        """FLOP/s of many rows, and bytes/s of what a product takes for its weights whatever the rows."""
        weights = [torch.randn(inner, width, device=place, dtype=dtype) for _ in range(MATRICES[device])]

        def of(rows: int) -> float:
            states = torch.randn(rows, width, device=place, dtype=dtype)
            return seconds(lambda: [torch.nn.functional.linear(states, weight) for weight in weights]) / len(weights)

        small, large = of(few), of(many)
        per_row = (large - small) / (many - few)
        # Never less than a tenth of it: a hiccup while few rows are timed must not make memory free.
        left = max(small - few * per_row, 0.1 * small)
        return 2 * width * inner / per_row, weights[0].numel() * weights[0].element_size() / left

    flops, memory = products(torch.float32)
    flops_half, _ = products(torch.float16 if device == "gpu" else torch.bfloat16)

    # A block's activations, and a slice of the vocabulary for which the rows of a larger table are visited.
    tokens, words = ELEMENTWISE[device]
    one, other = torch.randn(tokens, inner, device=place), torch.randn(tokens, inner, device=place)
    out = torch.empty_like(one)
    table = torch.randn(1024, 8 * words, device=place)
    part = table[:, :words]
    added = seconds(lambda: torch.add(one, other, out=out), 20) / (3 * 4 * one.numel())
    sliced = seconds(lambda: part.mul_(1.0), 20) / (2 * 4 * part.numel())
    table.uniform_(0.5, 1.0)
    raised = seconds(lambda: part.clone().exp_(), 20) / part.numel()
    logged = seconds(lambda: part.log(), 20) / part.numel()
    tiny = torch.zeros(8, device=place)
    return {
        "flops": flops,
        "flops_half": flops_half,
        "memory": memory,
        "elementwise": 2 / (added + sliced),
        "exponentials": 2 / (raised + logged),
        "call": seconds(lambda: tiny.add(1.0), 1000),
        "load": _load_rate(device, scratch, seconds),
    }


def _load_rate(device: str, scratch: Path, seconds) -> float:
    """Bytes/s from a file that was just written, as a prepared model is between a study's jobs, to where it is used."""
    import torch
    from safetensors.torch import load_file, save_file

    path = Path(scratch) / f"{os.getpid()}.safetensors"
    save_file({str(part): torch.randn(LOADED[device] // 32) for part in range(8)}, path)
    place = "cuda" if device == "gpu" else "cpu"
    return LOADED[device] / seconds(lambda: [tensor.to(place).clone() for tensor in load_file(path).values()])
