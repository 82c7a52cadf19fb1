"""Measuring this machine's rates under load: as many probes at once as jobs will run, each with a job's threads.

A probe is a separate process that is started like a job, since the time to import torch is measured as well.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import psutil

from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.models.budgets import CPU_ROWS, CPU_TOKENS, GPU_ROWS, GPU_TOKENS
from offcourse.plan.machine import device_rates
from offcourse.plan.rates import Rates, rates_path, write_rates
from offcourse.provenance.sharing import host_as
from offcourse.study.config import Study

# Bytes of a job's memory for each byte of its weights (the pages of the file and their copy), and beside them.
OF_WEIGHTS, BESIDE = 2.2, 1.5e9


def job_threads(study: Study, registry: Registry, cores: int, memory: float) -> int:
    """CPU threads of a job, as the workflow sets them on a machine with `cores` cores and `memory` bytes.

    The jobs of all models run side by side. Of one model two jobs do where there are several methods and the memory
    holds the model twice, since two jobs with half of the cores end sooner than one after the other.
    A tiny model's jobs take one (`rules/cluster.smk`); rates for them would say nothing about others.
    """
    if study.numerics.threads != "auto":
        return int(study.numerics.threads)
    jobs = len(study.models)
    if jobs == 1 and len(study.methods) > 1:
        parameters = registry.model(study.models[0]).parameters
        # No precision of a study has more than four bytes a number.
        fits = parameters is not None and 2 * (4 * parameters * OF_WEIGHTS + BESIDE) <= memory
        jobs += fits
    return max(1, cores // jobs)


def calibrate(study: Study, registry: Registry, directory: Path) -> Path:
    """Measure the rates that jobs of `study` will get, and write them below `directory`; returns the file.

    Raises `OffcourseError` with a probe's last message if the probe fails.
    """
    cores = os.cpu_count() or 1
    threads = job_threads(study, registry, cores, psutil.virtual_memory().total)
    path = rates_path(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        # One run before the measurement: it finds the device, and the first import reads everything from disk.
        found = _finish([_start(threads, scratch, "device")])[0]
        places = found["cards"] or max(1, cores // threads)
        # One probe suffices for cards: all probes would use one card, and cards do not slow each other down.
        together = 1 if found["cards"] else places
        probes = _finish([_start(threads, scratch, "rates") for _ in range(together)])
    names = [field.name for field in fields(Rates) if field.name in probes[0]]
    means = {name: statistics.mean(probe[name] for probe in probes) for name in names}
    rates = Rates(
        name=f"{found['name']}, measured",
        device=found["device"],
        rows=GPU_ROWS if found["cards"] else CPU_ROWS,
        tokens=GPU_TOKENS if found["cards"] else CPU_TOKENS,
        threads=threads,
        places=places,
        machine_memory=None if found["cards"] else float(psutil.virtual_memory().total),
        **means,
    )
    notes = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": host_as("digest", directory),
        "probes": len(probes),
    }
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
                f"the probe of this machine failed ({last}). Install the lock again: `python -m pip install -r "
                "requirements.lock`."
            )
    return [json.loads(out.splitlines()[-1]) for out, _ in done]


def probe(threads: int, scratch: Path, what: str, launched: float) -> dict:
    """The measurement of one process: some fields of `Rates` by name. what: the part to measure."""
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
        return found | device_rates(device, scratch)


if __name__ == "__main__":
    print(json.dumps(probe(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))))
