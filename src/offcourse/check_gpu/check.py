"""The whole check: the order of its parts, and which parts are left out on a small card."""

import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from offcourse.check_gpu import exact, passes
from offcourse.check_gpu.machine import described, device, measure_rates
from offcourse.check_gpu.page import Findings, markdown
from offcourse.check_gpu.subjects import Subject, build, subjects, whole
from offcourse.engine import Engine
from offcourse.files import write_json, write_whole
from offcourse.models import shapes
from offcourse.models.load import DTYPES
from offcourse.plan.rates import read_rates

PRECISIONS = ("float32", "bfloat16", "float16")
# Values of `max_rows` between which a sweep's hits are compared.
BUDGETS = (4096, 512, 100)


def check_gpu(directory: Path, narrow: bool | None = None) -> Findings:
    """Check this machine and leave `results/rates.json`, `check-gpu.md` and `check-gpu.json` below `directory`.

    narrow: whether models are narrow (None: only on a machine without a GPU). Raises `OffcourseError` for a GPU that
    torch cannot use.
    """
    begin = time.perf_counter()
    place = device()
    tiny = place == "cpu" if narrow is None else narrow
    found = Findings(described(place))
    _say(begin, f"{found.machine['device']}: rates")
    rates = read_rates(measure_rates(place, directory))
    found.rates = {name: value for name, value in vars(rates).items() if isinstance(value, float)}
    for subject in subjects(tiny):
        for dtype in PRECISIONS:
            _say(begin, f"{subject.name}, {dtype}")
            _run(found, subject, dtype, place, lambda s=subject, d=dtype: _exact(found, s, d, place))
        _run(found, subject, "bfloat16", place, lambda s=subject: _memory(found, s, place))
    subject = whole(tiny)
    for dtype in ("bfloat16", "float16"):
        _say(begin, f"{subject.name}, {dtype}: exactness, memory, speed")
        _run(found, subject, dtype, place, lambda d=dtype: _whole(found, subject, d, place, rates.flops_half))
    found.seconds = time.perf_counter() - begin
    results = directory / "results"
    write_whole(results / "check-gpu.md", lambda path: path.write_text(markdown(found), encoding="utf-8"))
    write_json(results / "check-gpu.json", found.document())
    return found


def _run(found: Findings, subject: Subject, dtype: str, place: str, part: Callable[[], None]) -> None:
    """Run one part of the check. If the card cannot hold the model, note that in `refused` and go on."""
    weights = DTYPES[dtype].itemsize * shapes.parameters(subject.row)
    try:
        part()
    except torch.OutOfMemoryError:
        found.refused.append(f"{subject.name} in {dtype}: its {weights / 1e9:.1f} GB and a pass do not fit the card")
    # A pass of the collector looks at every object of transformers, a third of a second.
    if place == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def _exact(found: Findings, subject: Subject, dtype: str, place: str) -> None:
    for name, row in exact.check(subject, dtype, place).items():
        found.exact.append({"model": subject.name, "dtype": dtype, "check": name, **row})


def _memory(found: Findings, subject: Subject, place: str) -> None:
    _peaks(found, subject, build(subject.row, "bfloat16", place), "bfloat16")


def _peaks(found: Findings, subject: Subject, model, dtype: str) -> None:
    for some in passes.widest(Engine(model), subject.row):
        planned = some.planned(subject.row, DTYPES[dtype].itemsize)
        measured = passes.peak(some.run)
        found.memory.append({"model": subject.name, "pass": some.name, "measured": measured, "planned": planned})


def _whole(found: Findings, subject: Subject, dtype: str, place: str, rate: float) -> None:
    model = build(subject.row, dtype, place)
    for name, row in exact.check_model(model, subject).items():
        found.exact.append({"model": subject.name, "dtype": dtype, "check": name, **row})
    found.hits[dtype] = passes.same_hits(subject, model, BUDGETS)
    if dtype == "bfloat16":
        _peaks(found, subject, model, dtype)
        found.speed += [{"model": subject.name, **row} for row in passes.speed(subject, model, rate)]


def _say(begin: float, text: str) -> None:
    print(f"{time.perf_counter() - begin:6.0f} s  {text}", file=sys.stderr, flush=True)
