"""Measuring this machine's rates: as many probes at once as jobs will run side by side, each with a job's threads.

A probe is a process of its own, started as a job is: what it takes to import torch is a part of what is measured.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

from offcourse.errors import OffcourseError
from offcourse.models.budgets import CPU_ROWS, CPU_TOKENS, GPU_ROWS, GPU_TOKENS
from offcourse.plan.rates import Rates, rates_path, write_rates
from offcourse.study.config import Study

# Width, feed-forward width and few and many rows of the products, by device: between them lies what a pass does.
SHAPES = {"cpu": (640, 2048, 16, 512), "gpu": (4096, 11008, 16, 4096)}
MATRICES = {"cpu": 24, "gpu": 8}  # together more than the caches hold, as a model's are
LOADED = {"cpu": 256 << 20, "gpu": 1 << 30}  # bytes of the weights that are loaded
REPEATS = 9


def job_threads(study: Study, cores: int) -> int:
    """CPU threads of a job, as the workflow sets them on so many cores."""
    if study.numerics.threads != "auto":
        return int(study.numerics.threads)
    return max(1, cores // len(study.models))


def calibrate(study: Study, directory: Path) -> Path:
    """Measure rates as jobs of `study` will get them, and write them below `directory`; returns the file.

    Raises `OffcourseError` with a probe's last words when it fails.
    """
    cores = os.cpu_count() or 1
    threads = job_threads(study, cores)
    path = rates_path(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        # Once before: the first import reads everything from disk. It tells the device as well.
        found = _finish([_start(threads, scratch, "device")])[0]
        places = found["cards"] or max(1, cores // threads)
        # One probe per card would measure the same card; cards do not slow each other down.
        together = 1 if found["cards"] else places
        probes = _finish([_start(threads, scratch, "rates") for _ in range(together)])
    names = [field.name for field in fields(Rates) if field.name in probes[0]]
    means = {name: statistics.mean(probe[name] for probe in probes) for name in names}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    rates = Rates(
        name=f"{found['name']}, measured",
        device=found["device"],
        rows=GPU_ROWS if found["cards"] else CPU_ROWS,
        tokens=GPU_TOKENS if found["cards"] else CPU_TOKENS,
        threads=threads,
        places=places,
        machine_memory=None if found["cards"] else float(memory),
        **means,
    )
    notes = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "host": platform.node(), "probes": len(probes)}
    write_rates(path, rates, notes)
    return path


def _start(threads: int, scratch: str, what: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "offcourse.plan.probe", str(threads), scratch, what, repr(time.time())]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finish(probes: list[subprocess.Popen]) -> list[dict]:
    done = [probe.communicate() for probe in probes]
    for probe, (_, said) in zip(probes, done, strict=True):
        if probe.returncode:
            last = (said.strip().splitlines() or ["no message"])[-1]
            raise OffcourseError(
                f"the probe of this machine failed ({last}). Is torch installed as `make install` does?"
            )
    return [json.loads(out.splitlines()[-1]) for out, _ in done]


def probe(threads: int, scratch: Path, what: str, launched: float) -> dict:
    """What one process measures: a dictionary of some of the fields of `Rates`."""
    import offcourse.run.job

    found = {"launch": time.time() - launched}
    begin = time.perf_counter()
    import torch

    found["imports"] = time.perf_counter() - begin
    import accelerate  # noqa: F401
    from transformers.models.llama.modeling_llama import LlamaForCausalLM  # noqa: F401

    import offcourse.engine  # noqa: F401

    found["start"] = time.perf_counter() - begin
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = "gpu" if cards else "cpu"
    if what == "device":
        name = torch.cuda.get_device_name() if cards else f"{platform.machine()}, {os.cpu_count()} cores"
        return {"device": device, "cards": cards, "name": name}
    torch.set_num_threads(threads)
    with torch.inference_mode():
        return found | _rates(torch, device, scratch)


def _rates(torch, device: str, scratch: Path) -> dict:
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
    one, other = torch.randn(300, inner, device=place), torch.randn(300, inner, device=place)
    out = torch.empty_like(one)
    table = torch.randn(1024, 8 * 256, device=place)
    part = table[:, :256]
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
        "load": _load_rate(torch, device, scratch, seconds),
    }


def _load_rate(torch, device: str, scratch: Path, seconds) -> float:
    """Bytes/s from a file that was just written, as a prepared model is between a study's jobs, to where it is used."""
    from safetensors.torch import load_file, save_file

    path = Path(scratch) / f"{os.getpid()}.safetensors"
    save_file({str(part): torch.randn(LOADED[device] // 32) for part in range(8)}, path)
    place = "cuda" if device == "gpu" else "cpu"
    return LOADED[device] / seconds(lambda: [tensor.to(place).clone() for tensor in load_file(path).values()])


if __name__ == "__main__":
    print(json.dumps(probe(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))))
