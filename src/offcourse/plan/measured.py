"""Comparing the plan of a study with the times and memory in its records."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.plan.jobs import CHECK, plan
from offcourse.plan.rates import Rates
from offcourse.provenance.records import read_record
from offcourse.study.config import Study

TOLERANCE = 0.3  # largest accepted relative error of a prediction


def compared(study: Study, registry: Registry, layout: Layout, rates: Rates) -> list[dict[str, Any]]:
    """Rows per step and model, and per step (`model` ""): predicted and measured seconds, ratio, and peak memory.

    Measured seconds are summed over the records of a job, from the first import to the last result. Only jobs with all
    records are compared. Raises `OffcourseError` if there is no such job, and for a damaged record.
    """
    rows = []
    for job in plan(study, registry, rates, layout.base):
        paths = list(_records(job.name, job.model, study, layout))
        if all(path.exists() for path in paths):
            made = [read_record(path)["made"] for path in paths]
            peak = max(part["peak_memory_bytes"] for part in made)
            rows.append(_row(job.name, job.model, job.seconds, sum(part["seconds"] for part in made), job.memory, peak))
    if not rows:
        raise OffcourseError(f"{layout.results} has no finished job. Run the study, then compare.")
    for name in dict.fromkeys(row["step"] for row in rows):
        mine = [row for row in rows if row["step"] == name]
        sums = [sum(row[key] for row in mine) for key in ("predicted", "measured")]
        peaks = [max(row[key] for row in mine) for key in ("predicted_memory", "measured_memory")]
        rows.append(_row(name, "", *sums, *peaks))
    return rows


def _row(step: str, model: str, predicted: float, measured: float, memory: float, peak: float) -> dict[str, Any]:
    ratio = predicted / measured if measured else None
    return {
        "step": step,
        "model": model,
        "predicted": predicted,
        "measured": measured,
        "ratio": ratio,
        "within": ratio is not None and abs(ratio - 1) <= TOLERANCE,
        "predicted_memory": memory,
        "measured_memory": peak,
    }


def _records(rule: str, model: str, study: Study, layout: Layout) -> Iterator[Path]:
    if rule == CHECK:
        yield layout.rule_record(rule, model)
    for step in STEPS.values():
        if step.rule == rule:
            yield from (layout.record(step.name, model, unit) for unit in step.units(study))
