"""The circumstances of a job: machine, commit, packages, memory and energy."""

import importlib.metadata
import os
import platform
import re
import resource
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[3]
# Below these folders of the checkout every file counts.
CODE = ("src/", "resources/", "rules/", "workflow/")
# Intel's running average power limit (RAPL) counts the joules of all sockets since an arbitrary start. On many machines
# only root can read it.
RAPL = Path("/sys/class/powercap")


@cache
def environment() -> dict[str, Any]:
    """Code, software and machine of this process, as plain JSON.

    git: `git_state`.
    packages: versions of everything that the project asks for directly. device: the GPU that torch uses, or the CPU.
    """
    return {
        "git": git_state(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "platform": platform.platform(),
        "device": _device(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def git_state() -> dict[str, Any]:
    """The commit that is checked out, and whether it lacks code or tables that this process can read (`dirty`).

    That is so if a tracked file was changed, or if there is a file in `CODE` that git neither tracks nor ignores, such
    as a method of the user's own. Both are None where the checkout has no git repository.
    Only a repository whose top folder is the checkout counts, since an unpacked archive may lie in another project's.
    """
    top, commit = _git("rev-parse", "--show-toplevel"), _git("rev-parse", "HEAD")
    if top is None or commit is None or Path(top.removesuffix("\n")).resolve() != CHECKOUT:
        return {"commit": None, "dirty": None}
    lines = (_git("status", "--porcelain", "--untracked-files=all") or "").splitlines()
    changed = [line for line in lines if not line.startswith("?? ") or line[3:].startswith(CODE)]
    return {"commit": commit.strip(), "dirty": bool(changed)}


def _git(*words: str) -> str | None:
    # Git sets these variables for hooks; with them git would look at the hook's repository.
    others = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    # Without optional locks, git processes of two jobs cannot block each other.
    command = ["git", "--no-optional-locks", "-C", str(CHECKOUT), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=others)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


@cache
def package_versions() -> dict[str, str]:
    """Versions of the packages that pyproject.toml names."""
    named = importlib.metadata.requires("offcourse") or []
    names = {re.match(r"[A-Za-z0-9._-]+", line)[0] for line in named if "extra ==" not in line}
    return {name: importlib.metadata.version(name) for name in sorted(names | {"offcourse"}, key=str.lower)}


def _device() -> str:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{named[0] if named else platform.machine()}, {os.cpu_count()} CPUs"


def peak_memory() -> int:
    """The largest resident memory of this process so far, in bytes."""
    # Linux keeps this peak for every process; on Linux psutil gives the present value only.
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage starts with the peak of the parent process; VmHWM starts anew.
        return int(re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def energy() -> float | None:
    """Joules that the machine's processors have used since an arbitrary start; None where it cannot be read."""
    try:
        zones = [path for path in RAPL.glob("intel-rapl:*") if path.name.count(":") == 1]
        return sum(int((zone / "energy_uj").read_text()) for zone in zones) / 1e6 if zones else None
    except (OSError, ValueError):
        return None
