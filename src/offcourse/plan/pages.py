"""Printing the plan: tables of steps and models, and totals."""

from collections.abc import Sequence
from typing import Any

from rich.table import Column, Table

from offcourse.plan.rates import Rates
from offcourse.printing import print_table


def print_forecast(found: dict[str, Any]) -> None:
    """Print a plan. found: the document that `plan.forecast.forecast` returns."""
    on_cards = found["rates"]["device"] == "gpu"
    for key in ("steps", "models"):
        print_table(_table(found[key], key.removesuffix("s"), on_cards))
        print()
    # With plain print, since a console would break long lines.
    print("\n".join(lines(found)))


def lines(found: dict[str, Any]) -> list[str]:
    """The totals of a plan, one per line."""
    on_cards = found["rates"]["device"] == "gpu"
    hours = "gpu_hours" if on_cards else "hours"
    unit = "GPU-hours" if on_cards else "hours of jobs"
    jobs, other = found["jobs"], found["other_jobs"]
    done = sum(job["done"] for job in jobs)
    drawn = other["tables, figures, report and crate"]
    wall = found["wall"]
    places = wall.get("cards") or wall["places"]
    where = f"{places} {'card' if on_cards else 'job'}{'s' if places > 1 else ''} at a time"
    disk, energy, budget = found["disk"], found["energy"], found["budget"]
    said = [
        f"Jobs: {len(jobs)} on models, {done} of them done; {drawn} for tables, figures, report and crate, "
        f"{other['of them done']} done.",
        *(_cluster(found["cluster"], found["cluster_left"]) if on_cards else ()),
        f"Time: {found[hours]:.2f} {unit}, {found[hours + '_left']:.2f} left; {_span(wall['hours'])} with {where}, "
        f"{_span(wall['hours_left'])} left.",
        f"Rates: {'; '.join([found['rates']['name'], *found['notes']])}.",
        f"Downloads: {_bytes(sum(found['downloads'].values()))}. Disk: {_bytes(disk['models'])} of models, "
        f"{_bytes(disk['results'])} of results.",
        f"Energy: {energy['kwh']:.3g} kWh, {energy['kg_co2']:.3g} kg CO2 ({_assumed(energy)}).",
    ]
    if "refused" in budget:
        return [*said, f"On A100 cards: {budget['refused']}"]
    return [
        *said,
        f"On A100 cards (estimated): {budget['total']:.2f} GPU-hours, {budget['function_vectors']:.2f} of them for "
        f"function vectors. The paper's study: about {budget['paper_function_vectors']:,.0f} for function vectors; our "
        f"goal for all of it: under {budget['goal']:.0f}, loads included.",
    ]


def print_comparison(rows: Sequence[dict[str, Any]], rates: Rates) -> None:
    """Print predicted beside measured times and memory. rows: from `plan.measured.compared`."""
    table = Table("step", "model", "predicted s", "measured s", "ratio", "GB predicted", "GB measured", box=None)
    for row in rows:
        ratio = f"{row['ratio']:.2f}"
        table.add_row(
            row["step"],
            row["model"] or "all",
            f"{row['predicted']:.1f}",
            f"{row['measured']:.1f}",
            ratio if row["within"] else f"[yellow]{ratio}[/]",
            f"{row['predicted_memory'] / 1e9:.2f}",
            f"{row['measured_memory'] / 1e9:.2f}",
        )
    print_table(table)
    steps = [row for row in rows if not row["model"]]
    within = sum(row["within"] for row in steps)
    print(f"{within} of {len(steps)} steps within 30 % (rates: {rates.name}, {rates.threads} threads of a job).")


def _table(rows: Sequence[dict[str, Any]], key: str, on_cards: bool) -> Table:
    table = Table(Column(key, no_wrap=True, min_width=16), "jobs", "done", "PFLOP", "hours", "load", "GB", box=None)
    if on_cards:
        for name in ("cards", "Slurm jobs", "GPU-h"):
            table.add_column(name)
    name = "name" if key == "step" else key
    for row in rows:
        cells = [
            row[name],
            str(row["jobs"]),
            str(row["done"]),
            f"{row['flops'] / 1e15:.3g}",
            f"{row['hours']:.3f}",
            f"{row['hours_loading']:.3f}",
            f"{row['memory'] / 1e9:.1f}",
        ]
        if on_cards:
            cells += [str(row["cards"]), str(row["cluster_jobs"]), f"{row['gpu_hours']:.3f}"]
        table.add_row(*cells)
    return table


def _cluster(whole: dict[str, Any], left: dict[str, Any]) -> list[str]:
    """Lines on the cluster's jobs: one per model, and whether each computes for longer than it loads."""
    if short := whole["short"]:
        worth = f"of {', '.join(short)} it loads for longer than it computes"
    else:
        worth = "each computes for longer than it loads"
    return [
        f"On Slurm: {whole['jobs']} jobs with cards, one per model, of {_span(whole['shortest_hours'])} to "
        f"{_span(whole['longest_hours'])}; {worth}. {left['jobs']} left. {whole['without_cards']} without cards."
    ]


def _span(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"


def _bytes(number: float) -> str:
    return f"{number / 1e9:.0f} GB" if number >= 10e9 else f"{number / 1e6:.0f} MB"


def _assumed(energy: dict[str, float]) -> str:
    units = {"gpu_power": "W per card", "gpu_utilisation": "of it drawn", "cpu_power": "W per core", "pue": "PUE"}
    units["grid_intensity"] = "g CO2 per kWh"
    return ", ".join(f"{energy[key]:g} {unit}" for key, unit in units.items() if key in energy)
