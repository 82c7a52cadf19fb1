"""The plan as a document: jobs (done or left), time on a number of cards, disk, energy, and the paper's budget."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from offcourse.audit.status import status
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS, steps_of
from offcourse.graph.products import products_of
from offcourse.layout import Layout
from offcourse.plan.compute_site import ENERGY, site_of
from offcourse.plan.jobs import CHECK, PlannedJob, disk, downloads, plan
from offcourse.plan.passes import assumed
from offcourse.plan.probe import job_threads
from offcourse.plan.rates import A100, Rates
from offcourse.plan.schedule import Submission, submissions, wall_time
from offcourse.plan.whole import is_plain
from offcourse.study.config import Study

# The paper's GPU-hours for function vectors; and this project's goal for the whole study, loading models included.
PAPER_GPU_HOURS, GOAL_GPU_HOURS = 1050.0, 60.0


def forecast(
    study: Study, registry: Registry, layout: Layout, rates: Rates, cards: int | None = None
) -> dict[str, Any]:
    """Everything that `offcourse plan` prints, as plain JSON.

    cards: number of cards for the wall time (None: the cards of one node, or the jobs that fit the machine side by
    side). Raises `OffcourseError` as `plan` and `wall_time` do, and for a wrong value in `resources`.
    """
    jobs = plan(study, registry, rates, layout.base)
    done = done_jobs(study, registry, layout)
    left = [job for job in jobs if (job.name, job.model) not in done]
    places = cards or int(site_of(study)["gpus_per_node"] if rates.device == "gpu" else rates.places)
    products = products_of(study, registry)
    products.pop(CHECK)
    drawn = [(product.rule, model) for product in products.values() for model in product.instances(study)]
    return {
        "study": study.study,
        "rates": asdict(rates),
        "notes": _notes(study, registry, rates),
        "jobs": [_job(job, (job.name, job.model) in done) for job in jobs],
        "steps": _summed(jobs, done, "name"),
        "models": _summed(jobs, done, "model"),
        "cluster": _cluster(submissions(jobs)),
        "cluster_left": _cluster(submissions(left)),
        "other_jobs": {
            "tables, figures, report and crate": len(drawn),
            "of them done": sum((rule, model or "") in done for rule, model in drawn),
            "models prepared": len(study.models),
        },
        "gpu_hours": sum(job.gpu_hours for job in jobs),
        "gpu_hours_left": sum(job.gpu_hours for job in left),
        "hours": sum(job.wall for job in jobs) / 3600,
        "hours_left": sum(job.wall for job in left) / 3600,
        "wall": {
            "cards" if rates.device == "gpu" else "places": places,
            "hours": wall_time(jobs, places) / 3600,
            "hours_left": wall_time(left, places) / 3600,
        },
        "downloads": downloads(study, registry),
        "disk": disk(study, registry, layout.base),
        "energy": energy(study, jobs, rates),
        "energy_left": energy(study, left, rates),
        "budget": budget(study, registry, jobs if rates is A100 else None, layout.base),
    }


def done_jobs(study: Study, registry: Registry, layout: Layout) -> set[tuple[str, str]]:
    """(rule, model) of every job that the next run leaves out, since `offcourse status` finds its results fresh."""
    jobs: dict[tuple[str, str], bool] = {}
    for state in status(study, registry, layout):
        rule = STEPS[state.step].rule if state.step in STEPS else state.step
        key = rule, state.model
        jobs[key] = jobs.get(key, True) and not state.job
    return {key for key, done in jobs.items() if done}


def energy(study: Study, jobs: Iterable[PlannedJob], rates: Rates) -> dict[str, float]:
    """kWh (hours x W x share x PUE) and kg CO2 (kWh x grid intensity) of jobs, with the numbers behind them."""
    of = {key: value for key, value in site_of(study).items() if key in ENERGY}
    jobs = list(jobs)
    if rates.device == "gpu":
        watts = sum(job.gpu_hours for job in jobs) * of["gpu_power"] * of["gpu_utilisation"]
        of.pop("cpu_power")
    else:
        watts = sum(job.wall for job in jobs) / 3600 * rates.threads * of["cpu_power"]
        of = {key: value for key, value in of.items() if not key.startswith("gpu")}
    kwh = watts / 1000 * of["pue"]
    return {"kwh": kwh, "kg_co2": kwh * of["grid_intensity"] / 1000, **of}


def budget(
    study: Study, registry: Registry, jobs: Sequence[PlannedJob] | None = None, base: Path = Path()
) -> dict[str, Any]:
    """GPU-hours of the study on A100 cards beside the paper's.

    jobs: the study's plan on A100 cards, if known. base: the study's working directory.
    """
    if jobs is None:
        try:
            jobs = plan(study, registry, A100, base)
        except OffcourseError as error:
            return {"rates": A100.name, "paper_function_vectors": PAPER_GPU_HOURS, "refused": str(error)}
    rules = {step.rule for step in steps_of(study).values() if "function_vectors" in step.methods}
    return {
        "rates": A100.name,
        "paper_function_vectors": PAPER_GPU_HOURS,
        "function_vectors": sum(job.gpu_hours for job in jobs if job.name in rules),
        "total": sum(job.gpu_hours for job in jobs),
        "goal": GOAL_GPU_HOURS,
    }


def _notes(study: Study, registry: Registry, rates: Rates) -> list[str]:
    """Sentences on the plan: models on the plain path, assumed sizes of question sets, and rates of other jobs."""
    names = {name for step in steps_of(study).values() if step.on_questions for name in step.units(study)}
    taken = {name: assumed(registry.question_set(name)) for name in sorted(names)}
    notes = [
        f"{name} runs on the plain path, where every edit is a whole forward and no beginning is shared"
        for name in study.models
        if is_plain(registry.model(name))
    ]
    notes += [
        f"{name} was never counted: it is taken to be as large as {other}" for name, other in taken.items() if other
    ]
    if rates.device == "gpu":
        return notes
    threads = job_threads(study, registry, rates.threads * rates.places, rates.machine_memory or 0)
    if threads == rates.threads:
        return notes
    again = "measure them again with --calibrate and this --configfile"
    return [*notes, f"the rates are of jobs with {rates.threads} threads, this study's have {threads}: {again}"]


def _job(job: PlannedJob, done: bool) -> dict[str, Any]:
    return asdict(job) | {"gpu_hours": job.gpu_hours, "wall_seconds": job.wall, "done": done}


def _cluster(given: Sequence[Submission]) -> dict[str, Any]:
    """The cluster's jobs: counts with and without cards, hours, and models that load for longer than they compute."""
    held = [each for each in given if each.cards]
    hours = [each.wall / 3600 for each in held]
    return {
        "jobs": len(held),
        "without_cards": len(given) - len(held),
        "shortest_hours": min(hours, default=0),
        "longest_hours": max(hours, default=0),
        "short": [each.model for each in held if each.work < each.loads],
    }


def _summed(jobs: Sequence[PlannedJob], done: set, key: str) -> list[dict[str, Any]]:
    """Sums over jobs per step, or per model. key: what to sum by."""
    found = []
    for name in dict.fromkeys(getattr(job, key) for job in jobs):
        mine = [job for job in jobs if getattr(job, key) == name]
        found.append(
            {
                key: name,
                "jobs": len(mine),
                "cluster_jobs": len({each.model for each in mine if each.held}),
                "done": sum((job.name, job.model) in done for job in mine),
                "flops": sum(job.flops for job in mine),
                "gpu_hours": sum(job.gpu_hours for job in mine),
                "hours": sum(job.wall for job in mine) / 3600,
                "hours_loading": sum(job.load_seconds + job.start_seconds for job in mine) / 3600,
                "cards": max(job.held for job in mine),
                "memory": max(job.memory for job in mine),
            }
        )
    return found
