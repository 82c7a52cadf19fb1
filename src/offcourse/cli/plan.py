"""The verb `plan`, which says how much time, memory and disk a study will take."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from offcourse.cli.app import AsJson, Config, Directory, app, print_json


@app.command()
def plan(
    configfile: Config = Path("config.yaml"),
    directory: Directory = Path(),
    cards: Annotated[
        int | None, typer.Option(min=1, help="GPUs that run at the same time (default: one node).")
    ] = None,
    rates: Annotated[
        str | None,
        typer.Option(
            help="a100, or a file of rates (default: rates measured here; without any, a100 on a machine with "
            "GPUs, and on another machine what is measured now)."
        ),
    ] = None,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Measure this machine's rates first.")] = False,
    measured: Annotated[bool, typer.Option("--measured", help="Compare with times and memory in the records.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what the study will take, without running anything: jobs, GPU-hours, memory, cards (GPUs), time, downloads,
    disk, energy.

    With --measured: predicted and measured seconds of each finished step; exit code 0 when all steps are within 30 %,
    else 1.
    """
    from offcourse.data.registry import Registry
    from offcourse.layout import Layout
    from offcourse.plan import pages
    from offcourse.plan.machine import has_cards
    from offcourse.plan.rates import rates_of, rates_path
    from offcourse.study.config import read_study

    study, registry = read_study(configfile), Registry.load()
    layout = Layout(study.study, directory)
    unknown = rates is None and not rates_path(directory).exists()
    if unknown and not calibrate and not has_cards():
        print(
            f"offcourse: this machine's rates are measured first, into {rates_path(directory)}; that takes about half "
            "a minute, and --rates a100 plans for A100 cards instead",
            file=sys.stderr,
        )
        calibrate = True
    if calibrate:
        from offcourse.plan.probe import calibrate as measure

        measure(study, registry, directory)
        rates = rates or str(rates_path(directory))
    known = rates_of(rates, directory)
    if measured:
        from offcourse.plan.measured import compared

        rows = compared(study, registry, layout, known)
        if as_json:
            print_json({"study": study.study, "rates": asdict(known), "steps": rows})
        else:
            pages.print_comparison(rows, known)
        raise typer.Exit(0 if all(row["within"] for row in rows if not row["model"]) else 1)
    from offcourse.plan.forecast import forecast

    found = forecast(study, registry, layout, known, cards)
    if as_json:
        print_json(found)
    else:
        pages.print_forecast(found)
