"""The `offcourse` command."""

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from offcourse.errors import OffcourseError
from offcourse.jobs.status import State
from offcourse.jobs.status import status as status_of
from offcourse.layout import Layout
from offcourse.registry import LOCK, RESOURCES, Registry
from offcourse.study.config import read_study

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Config = Annotated[Path, typer.Option("--configfile", help="The study.")]
Directory = Annotated[Path, typer.Option("--directory", help="Where the study runs (as for snakemake).")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.callback()
def offcourse() -> None:
    """Ask a study what it has, what is stale, and why. `snakemake` runs it."""


@app.command()
def status(configfile: Config = Path("config.yaml"), directory: Directory = Path(), as_json: AsJson = False) -> None:
    """Print step x model x task: fresh or stale, and what changed. Exit code 0 when all is fresh, else 1."""
    study = read_study(configfile)
    registry = Registry.load()
    study.check(registry)
    states = status_of(study, registry, Layout(study.study, directory))
    if as_json:
        print(json.dumps({"study": study.study, "states": [state.as_dict() for state in states]}, indent=2))
    else:
        _print(states)
    raise typer.Exit(0 if all(state.fresh for state in states) else 1)


@app.command()
def pin(
    configfile: Annotated[Path | None, typer.Option(help="Only the models of this study (default: all).")] = None,
    update: Annotated[bool, typer.Option("--update", help="Ask again for models that are pinned already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Resolve the revision of each hub model to a commit, and write resources/models.lock.tsv."""
    from offcourse.models.pin import pin as pin_models

    registry = Registry.load(locked=False)
    names = read_study(configfile).models if configfile else list(registry.models)
    wanted = [registry.model(name).name for name in names]
    lock = RESOURCES / LOCK
    asked = pin_models(registry.models, wanted, lock, update)
    kept = [name for name in wanted if registry.model(name).source == "hub" and name not in asked]
    if as_json:
        print(json.dumps({"lock": str(lock), "pinned": asked, "kept": kept}, indent=2))
    else:
        print(f"{lock}: {len(asked)} pinned, {len(kept)} pinned before and kept. Commit it.")


@app.command()
def plan(configfile: Config = Path("config.yaml"), as_json: AsJson = False) -> None:
    """What the study takes: jobs, operations, memory, cards and GPU-hours by step, from the registry alone."""
    from offcourse.jobs.plan import downloads
    from offcourse.jobs.plan import plan as plan_of

    study, registry = read_study(configfile), Registry.load()
    jobs = plan_of(study, registry)
    fetched = downloads(study, registry)
    hours = sum(job.gpu_hours for job in jobs)
    if as_json:
        listed = [asdict(job) | {"gpu_hours": job.gpu_hours} for job in jobs]
        print(json.dumps({"study": study.study, "jobs": listed, "gpu_hours": hours, "downloads": fetched}, indent=2))
        return
    table = Table("job", "jobs", "PFLOP", "GPU-hours", "of them loading", "most cards", "most GB per card", box=None)
    for name in dict.fromkeys(job.name for job in jobs):
        of_name = [job for job in jobs if job.name == name]
        table.add_row(
            name,
            str(len(of_name)),
            f"{sum(job.flops for job in of_name) / 1e15:.1f}",
            f"{sum(job.gpu_hours for job in of_name):.2f}",
            f"{sum(job.cards * job.load_seconds for job in of_name) / 3600:.2f}",
            str(max(job.cards for job in of_name)),
            f"{max(job.memory for job in of_name) / 1e9:.0f}",
        )
    Console().print(table)
    print(f"{len(jobs)} jobs that load a model, {hours:.1f} GPU-hours estimated (the paper: about 1,050 for function")
    print(f"vectors alone), {sum(fetched.values()) / 1e9:.0f} GB to download. Rates and prompt lengths are estimates.")


def _print(states: list[State]) -> None:
    console = Console()
    table = Table("step", "model", "task", "state", box=None)
    for state in states:
        words = "[green]fresh[/]" if state.fresh else "[yellow]stale:[/] " + "; ".join(state.why)
        table.add_row(state.step, state.model, state.task, words)
    console.print(table)
    counts = Counter(state.fresh for state in states)
    console.print(f"{counts[True]} fresh, {counts[False]} stale")


def main() -> None:
    """Run the command; what a user can mend is one message and exit code 2."""
    try:
        app()
    except OffcourseError as error:
        print(f"offcourse: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
