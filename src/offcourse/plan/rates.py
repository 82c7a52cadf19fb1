"""Rates: the speed of a machine in the few numbers that the plan divides by; an A100's are estimated."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offcourse.errors import OffcourseError
from offcourse.files import write_json
from offcourse.models.budgets import GPU_ROWS, GPU_TOKENS


@dataclass(frozen=True)
class Rates:
    """The rates of one job while as many jobs run side by side as the machine has room for.

    name: origin of the numbers. device: "gpu" (jobs are spread over cards) or "cpu" (over cores).
    flops, flops_half: matrix products in float32 and in half precision (FLOP/s). memory: reading weights for a product
    (bytes/s). elementwise: reading and writing in elementwise operations (bytes/s). exponentials: exponentials and
    logarithms (per second). call: overhead of one torch operation (s). load: reading a model (bytes/s).
    start, imports: importing the engine, or torch alone (s). launch: start of a job's Python before the imports (s).
    rows, tokens: rows of a pass, and tokens of a forest. threads: CPU threads of a job. places: number of cards, or of
    jobs that run side by side. machine_memory: bytes of the machine, if jobs run on its processors.
    """

    name: str
    device: str
    flops: float
    flops_half: float
    memory: float
    elementwise: float
    exponentials: float
    call: float
    load: float
    start: float
    imports: float
    launch: float
    rows: int
    tokens: int
    threads: int
    places: int
    machine_memory: float | None = None

    def products(self, dtype: str) -> float:
        """FLOP/s of matrix products in a dtype."""
        return self.flops if dtype == "float32" else self.flops_half


# Peaks from NVIDIA's data sheet of the 80 GB SXM card: 312e12 FLOP/s in half precision, 19.5e12 in float32 (no TF32),
# 2.04e12 bytes/s. The reached shares of these peaks (40 %, 75 %, 70 %) and the other numbers are estimates.
A100 = Rates(
    name="A100, estimated",
    device="gpu",
    flops=15e12,
    flops_half=125e12,
    memory=1.4e12,
    elementwise=1.4e12,
    exponentials=5e11,
    call=5e-6,
    load=1.5e9,
    start=20.0,
    imports=8.0,
    launch=5.0,
    rows=GPU_ROWS,
    tokens=GPU_TOKENS,
    threads=1,
    places=8,
)


def rates_path(directory: Path) -> Path:
    """Path of the rates that `offcourse plan --calibrate` measures, shared by all studies of a directory."""
    return Path(directory) / "results" / "rates.json"


def write_rates(path: Path, rates: Rates, notes: dict[str, Any]) -> None:
    """Write rates, whole or not at all. notes: when and where they were measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**dataclasses.asdict(rates), "measured": notes})


def read_rates(path: Path) -> Rates:
    """Read rates from a file. Raises `OffcourseError` if the file does not exist or holds no rates."""
    again = "Run the same command with --calibrate instead of --rates, which measures them, or with --rates a100."
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise OffcourseError(f"there are no rates in {path}. {again}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise OffcourseError(f"{path} cannot be read as rates ({error}). {again}") from error
    fields = {field.name for field in dataclasses.fields(Rates)}
    if not isinstance(found, dict) or not fields <= found.keys():
        missing = sorted(fields - found.keys()) if isinstance(found, dict) else ["everything"]
        raise OffcourseError(f"{path} is no file of rates: it lacks {', '.join(missing)}. {again}")
    if wrong := [name for name in sorted(fields) if not _is_rate(name, found[name])]:
        raise OffcourseError(f"{path}: {wrong[0]} is {found[wrong[0]]!r}, which is no rate. {again}")
    return Rates(**{name: found[name] for name in fields})


def _is_rate(name: str, value: Any) -> bool:
    """Whether a value can be that of a field of `Rates`: a text, or a number above zero (times may be zero)."""
    if name in ("name", "device"):
        return isinstance(value, str)
    if name == "machine_memory" and value is None:
        return True
    counted = name in ("rows", "tokens", "threads", "places")
    if isinstance(value, bool) or not isinstance(value, int if counted else int | float) or not abs(value) < 1e30:
        return False
    return value > 0 or (value == 0 and name in ("call", "start", "imports", "launch"))


def rates_of(choice: str | None, directory: Path) -> Rates:
    """The rates that a plan uses. choice: "a100", a file, or None for the directory's measured rates, else a100."""
    if choice == "a100":
        return A100
    if choice is not None:
        return read_rates(Path(choice))
    path = rates_path(directory)
    return read_rates(path) if path.exists() else A100
