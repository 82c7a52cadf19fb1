"""Measuring this machine's rates: matrix products, memory, elementwise operations, starting an operation, loading.

This module needs only torch and safetensors, so that a GPU image without the workflow's packages can measure its card.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

# (width, feed-forward width, few rows, many rows) of the measured products, by device. Passes have numbers of rows in
# between.
SHAPES = {"cpu": (640, 2048, 16, 512), "gpu": (4096, 11008, 16, 4096)}
MATRICES = {"cpu": 24, "gpu": 8}  # like a model's matrices, these together do not fit the caches
# Sizes of elementwise operations: tokens of a block's activations, and words of a slice of the vocabulary.
ELEMENTWISE = {"cpu": (300, 256), "gpu": (4096, 4096)}
LOADED = {"cpu": 256 << 20, "gpu": 1 << 30}  # bytes of the weights that are loaded
# Measurements of one rate. Of those that take long, which vary less, none begins after some seconds but the first ones.
REPEATS, LEAST, ENOUGH = 9, 3, 1.5


# Files that the drivers of NVIDIA's and AMD's cards make.
CARDS = ("/dev/nvidiactl", "/dev/kfd")


def has_cards() -> bool:
    """Whether this machine has cards (GPUs), as far as their drivers say; asking torch would take seconds."""
    return any(map(os.path.exists, CARDS))


def device_rates(device: str, scratch: Path) -> dict[str, float]:
    """The fields of `plan.rates.Rates` that passes depend on. device: "gpu" or "cpu". scratch: a writable folder."""
    import torch

    place = "cuda" if device == "gpu" else "cpu"
    wait = torch.cuda.synchronize if device == "gpu" else (lambda: None)
    width, inner, few, many = SHAPES[device]

    def seconds(call: Callable[[], object], times: int = 1) -> float:
        """Median seconds of one call; the median and not the minimum, since a job gets the usual speed."""
        call()
        found = []
        while len(found) < REPEATS and (len(found) < LEAST or sum(found) * times < ENOUGH):
            wait()
            begin = time.perf_counter()
            for _ in range(times):
                call()
            wait()
            found.append((time.perf_counter() - begin) / times)
        return statistics.median(found)

    def products(dtype) -> tuple[float, float]:
        """(FLOP/s with many rows, bytes/s at which a product reads its weights, which does not depend on the rows)."""
        weights = [torch.randn(inner, width, device=place, dtype=dtype) for _ in range(MATRICES[device])]

        def of(rows: int) -> float:
            states = torch.randn(rows, width, device=place, dtype=dtype)
            return seconds(lambda: [torch.nn.functional.linear(states, weight) for weight in weights]) / len(weights)

        small, large = of(few), of(many)
        per_row = (large - small) / (many - few)
        # At least a tenth of the measured time: an outlier in the timing must not make reading weights free.
        left = max(small - few * per_row, 0.1 * small)
        return 2 * width * inner / per_row, weights[0].numel() * weights[0].element_size() / left

    flops, memory = products(torch.float32)
    flops_half, memory_half = products(torch.float16 if device == "gpu" else torch.bfloat16)
    # Models on a GPU are in half precision, nearly all.
    memory = memory_half if device == "gpu" else memory

    # Activations of a block, and a slice of the vocabulary that is cut from a larger table.
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
    """Bytes/s of loading a file that is in the page cache, as a prepared model is between a study's jobs."""
    import torch
    from safetensors.torch import load_file, save_file

    path = Path(scratch) / f"{os.getpid()}.safetensors"
    save_file({str(part): torch.randn(LOADED[device] // 32) for part in range(8)}, path)
    place = "cuda" if device == "gpu" else "cpu"
    return LOADED[device] / seconds(lambda: [tensor.to(place).clone() for tensor in load_file(path).values()])
