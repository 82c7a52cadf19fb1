"""The machine under check: its card, its packages, and its rates for the plan."""

import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import torch
import transformers

from offcourse.errors import OffcourseError
from offcourse.models.budgets import CPU_ROWS, CPU_TOKENS, GPU_ROWS, GPU_TOKENS
from offcourse.plan.machine import device_rates
from offcourse.plan.rates import A100, Rates, rates_path, write_rates

# This file exists if the NVIDIA driver is loaded.
DRIVER = Path("/proc/driver/nvidia/version")
# The imports of a job before it computes, timed in a process of their own.
IMPORTS = """
import json, time
begin = time.perf_counter()
import torch
imports = time.perf_counter() - begin
import accelerate, offcourse.engine
from transformers.models.llama.modeling_llama import LlamaForCausalLM
print(json.dumps({"imports": imports, "start": time.perf_counter() - begin}))
"""


def device() -> str:
    """ "cuda" or "cpu". Raises `OffcourseError` when there is a GPU that torch cannot use, with torch's reason."""
    if torch.cuda.is_available():
        return "cuda"
    if not DRIVER.exists():
        return "cpu"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        raise OffcourseError(
            f"this machine has an NVIDIA driver, but torch {torch.__version__} cannot use its GPU: "
            f"{str(error).splitlines()[0]} Install a torch built for this driver, or a newer driver."
        ) from error
    raise OffcourseError(
        "this machine has an NVIDIA driver, but torch sees no GPU: CUDA_VISIBLE_DEVICES or the job's allocation may "
        "hide the GPU. Ask for one (Slurm: --gres=gpu:1) and run the check again."
    )


def described(place: str) -> dict:
    """Card, memory, driver's CUDA version, and packages."""
    packages = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    if place == "cpu":
        return {"device": f"{platform.machine()}, {os.cpu_count()} cores, no GPU", "packages": packages}
    card = torch.cuda.get_device_properties(0)
    return {
        "device": card.name,
        "memory_gb": round(card.total_memory / 1e9, 1),
        "cards": torch.cuda.device_count(),
        "capability": f"{card.major}.{card.minor}",
        "cuda": torch.version.cuda,
        "packages": packages,
    }


def measure_rates(place: str, directory: Path) -> Path:
    """Measure the rates that `offcourse plan` uses; writes `results/rates.json` below `directory`, returns its path."""
    on_card = place == "cuda"
    path = rates_path(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch, torch.inference_mode():
        found = device_rates("gpu" if on_card else "cpu", Path(scratch))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    rates = Rates(
        name=f"{described(place)['device']}, measured",
        device="gpu" if on_card else "cpu",
        # The time before a job's first import is spent by Snakemake and the cluster, which this check does not run.
        launch=A100.launch,
        rows=GPU_ROWS if on_card else CPU_ROWS,
        tokens=GPU_TOKENS if on_card else CPU_TOKENS,
        threads=1 if on_card else torch.get_num_threads(),
        places=torch.cuda.device_count() if on_card else 1,
        machine_memory=None if on_card else float(memory),
        **json.loads(done.stdout.splitlines()[-1]),
        **found,
    )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_rates(path, rates, {"at": now, "by": "check-gpu", "launch": "estimated, not measured", "probes": 1})
    return path
