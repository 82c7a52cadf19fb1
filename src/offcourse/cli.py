"""The `offcourse` command."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from offcourse.audit import status as states
from offcourse.audit.audit import INTACT, Audit, Finding
from offcourse.data.names import RESOURCES
from offcourse.data.pins import LOCK
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.layout import Layout
from offcourse.study.config import read_study

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Config = Annotated[Path, typer.Option("--configfile", help="The study.")]
Directory = Annotated[Path, typer.Option("--directory", help="Where the study runs (as for snakemake).")]
Published = Annotated[
    bool, typer.Option("--published", help="The authors' released results instead of a study (make published).")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
NAME = typer.Argument(metavar="TABLE", help="table3, figure11, figure9/gemma-3-270m, report.")
ROW = typer.Option(help='A row, as printed; of a figure the point, as in "layer=3 head=1".')
COLUMN = typer.Option(help="A column, as printed; of a figure the plotted number.")


@app.callback()
def offcourse() -> None:
    """Ask a study what it has, what is stale and why, and where each number comes from. `snakemake` runs it.

    Exit codes: 0 fine, 1 something is wrong (stale, damaged, different, not found), 2 bad input.
    """


@app.command()
def status(
    configfile: Config = Path("config.yaml"),
    directory: Directory = Path(),
    published: Published = False,
    as_json: AsJson = False,
) -> None:
    """Print step x model x unit, or each rule of the release (--published): fresh or stale, and what is missing or
    changed. Exit code 0 when all is fresh, else 1.
    """
    if published:
        _status_of_release(directory, as_json)
    study, registry, layout = _study(configfile, directory)
    found = states.status(study, registry, layout)
    if as_json:
        _print_json({"study": study.study, "states": [state.as_dict() for state in found]})
    else:
        _print_states(found)
    raise typer.Exit(0 if all(state.fresh for state in found) else 1)


@app.command()
def audit(
    name: Annotated[str | None, NAME] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every result, and files that no record names.")] = False,
    row: Annotated[str | None, ROW] = None,
    column: Annotated[str | None, COLUMN] = None,
    configfile: Config = Path("config.yaml"),
    directory: Directory = Path(),
    published: Published = False,
    as_json: AsJson = False,
) -> None:
    """Hash again everything behind a table, a figure or the whole study (--all), down to the weights; or, with --row
    and --column, print the chain of one number and compute it again. Exit code 0 when all is intact, else 1.
    """
    if (name is None) != everything:
        raise OffcourseError("say what to audit: a table or figure such as table3, or --all")
    if name is None and (row or column):
        raise OffcourseError("--row and --column belong to one table or figure; name it instead of --all")
    if column and not row:
        raise OffcourseError("--column needs --row")
    checker = _release(directory) if published else Audit(*_study(configfile, directory))
    if row:
        _audit_cell(checker, name, row, column, as_json)
    found = checker.everything() if everything else checker.chain(name)
    wrong = [finding for finding in found if finding.state != INTACT]
    if as_json:
        _print_json({"study": checker.layout.study, "intact": not wrong, "files": [file.as_dict() for file in found]})
    else:
        _print_findings(wrong)
        print(_summary(found))
    raise typer.Exit(1 if wrong else 0)


@app.command()
def diff(
    one: Annotated[
        str, typer.Argument(metavar="A", help="A study that was run, or published: its name, or its folder.")
    ],
    other: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    directory: Directory = Path(),
    as_json: AsJson = False,
) -> None:
    """Print what differs between two studies, or two copies of the release: switches, parameters, versions, models,
    code, numbers. Exit code 0 when nothing does, else 1.
    """
    from offcourse.audit.diff import differences_between, study_folder

    found = differences_between(study_folder(one, directory), study_folder(other, directory))
    if as_json:
        _print_json({"a": one, "b": other, "differences": found})
    else:
        _print_differences(one, other, found)
    raise typer.Exit(1 if any(found.values()) else 0)


@app.command()
def compare(
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help="table1 to table12 (default: all).")] = None,
    configfile: Config = Path("config.yaml"),
    directory: Directory = Path(),
    as_json: AsJson = False,
) -> None:
    """Print the paper's numbers beside those of the authors' release and of the study, with a verdict for each cell.
    Exit code 0 when the release gives every number as printed, up to rounding, else 1.
    """
    from offcourse.analysis import comparison as printed
    from offcourse.graph.release_rules import NAME as PUBLISHED

    study = read_study(configfile).study
    frame = printed.comparison(Layout(PUBLISHED, directory).results, Layout(study, directory).results)
    frame = frame if table is None else printed.of_table(frame, table)
    counted = printed.counts(frame)
    if as_json:
        cells = json.loads(frame.to_json(orient="records", force_ascii=False))
        _print_json({"study": study, "counts": counted.to_dict(orient="index"), "cells": cells})
    else:
        if table:
            _print_cells(frame)
        else:
            _print_cells(frame[frame["verdict"].isin([printed.ROUNDING, printed.DIFFERENT])])
        print(counted.to_string())
    raise typer.Exit(1 if frame["verdict"].eq(printed.DIFFERENT).any() else 0)


@app.command()
def find(
    where: Annotated[list[str], typer.Option(help="key=value, an entry of a record; given again, both must hold.")],
    directory: Directory = Path(),
    as_json: AsJson = False,
) -> None:
    """Print the results of all studies that were made in a certain way, as in --where task=antonym --where step=cie.
    Exit code 0 when there are any, else 1.
    """
    from offcourse.audit.find import find as find_results

    found = find_results(directory, where)
    if as_json:
        _print_json({"where": where, "results": found})
    else:
        for result in found:
            print(f"{result['path']}  {result['sha256'][:12]}")
    raise typer.Exit(0 if found else 1)


@app.command()
def capsule(
    name: Annotated[str, NAME],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    row: Annotated[str, ROW],
    column: Annotated[str, COLUMN],
    configfile: Config = Path("config.yaml"),
    directory: Directory = Path(),
    as_json: AsJson = False,
) -> None:
    """Write one cell of a table with its prompts, its numbers and a script that computes it again without Snakemake."""
    from offcourse.audit.capsule import write_capsule

    chain = write_capsule(Audit(*_study(configfile, directory)), name, row, column, folder)
    if as_json:
        _print_json(chain)
    else:
        print(
            f"{folder}: {name}, {row}, {column} is {chain['value']}. Compute it again with python {folder}/recompute.py"
        )


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
        _print_json({"lock": str(lock), "pinned": asked, "kept": kept})
    else:
        print(f"{lock}: {len(asked)} pinned, {len(kept)} pinned before and kept. Commit it.")


@app.command()
def plan(
    configfile: Config = Path("config.yaml"),
    directory: Directory = Path(),
    cards: Annotated[
        int | None, typer.Option(min=1, help="Cards that run at the same time (default: one node).")
    ] = None,
    rates: Annotated[
        str | None, typer.Option(help="a100, or a file of rates; default: as measured here, else a100.")
    ] = None,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Measure this machine's rates first.")] = False,
    measured: Annotated[bool, typer.Option("--measured", help="Compare with what the records measured.")] = False,
    as_json: AsJson = False,
) -> None:
    """What the study takes, without submitting anything: jobs, GPU-hours, memory, cards, time, downloads, disk, energy.

    With --measured: predicted and measured seconds of each finished step; exit code 0 when all steps are within 30 %,
    else 1.
    """
    from offcourse.plan import pages
    from offcourse.plan.rates import rates_of, rates_path

    study, registry = read_study(configfile), Registry.load()
    layout = Layout(study.study, directory)
    if calibrate:
        from offcourse.plan.probe import calibrate as measure

        measure(study, directory)
        rates = rates or str(rates_path(directory))
    known = rates_of(rates, directory)
    if measured:
        from offcourse.plan.measured import compared

        rows = compared(study, registry, layout, known)
        if as_json:
            _print_json({"study": study.study, "rates": asdict(known), "steps": rows})
        else:
            pages.print_comparison(rows, known)
        raise typer.Exit(0 if all(row["within"] for row in rows if not row["model"]) else 1)
    from offcourse.plan.forecast import forecast

    found = forecast(study, registry, layout, known, cards)
    if as_json:
        _print_json(found)
    else:
        pages.print_forecast(found)


def _study(configfile: Path, directory: Path) -> tuple:
    study = read_study(configfile)
    registry = Registry.load()
    study.check(registry)
    return study, registry, Layout(study.study, directory)


def _status_of_release(directory: Path, as_json: bool) -> None:
    from offcourse.graph.release_rules import NAME as PUBLISHED
    from offcourse.published.status import status

    found = status(directory)
    if as_json:
        _print_json({"study": PUBLISHED, "states": [state.as_dict() for state in found]})
    else:
        table = Table("rule", "files", "state", box=None)
        for state in found:
            table.add_row(state.rule, f"{state.there} of {state.files}", _state(state.fresh, "stale", state.why))
        _print_table(table, found)
    raise typer.Exit(0 if all(state.fresh for state in found) else 1)


def _release(directory: Path) -> Audit:
    from offcourse.published.audit import ReleaseAudit

    return ReleaseAudit(directory)


def _audit_cell(checker: Audit, name: str, row: str, column: str | None, as_json: bool) -> None:
    from offcourse.audit.lineage import lineage_of

    chain = lineage_of(checker, name, row, column)
    wrong = [finding for finding in checker.behind(chain["table"]) if finding.state != INTACT]
    if as_json:
        _print_json({**chain, "intact": not wrong, "wrong": [finding.as_dict() for finding in wrong]})
    else:
        _print_chain(chain)
        _print_findings(wrong)
    raise typer.Exit(0 if chain["agrees"] and not wrong else 1)


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _print_cells(frame: Any) -> None:
    table = Table("table", "row", "column", "printed", "release", "ours", "verdict", "reason", box=None)
    for cell in frame.itertuples():
        numbers = (
            lacks if value != value else f"{value:.6g}"
            for value, lacks in ((cell.release, ""), (cell.ours, cell.ours_why))
        )
        texts = (cell.table, cell.row, cell.column, cell.printed, *numbers, cell.verdict, cell.reason)
        table.add_row(*map(escape, texts))
    # Not cut to a terminal's width: what is piped on is whole.
    Console(width=None if sys.stdout.isatty() else 240).print(table)


def _print_states(found: Sequence[states.State]) -> None:
    table = Table("step", "model", "unit", "state", box=None)
    for state in found:
        words = _state(state.fresh, "stale" if state.job else "damaged", state.why)
        table.add_row(state.step, state.model, state.unit, words)
    _print_table(table, found)


def _state(fresh: bool, kind: str, why: Sequence[str]) -> str:
    return "[green]fresh[/]" if fresh else f"[yellow]{kind}:[/] {escape('; '.join(why))}"


def _print_table(table: Table, found: Sequence[Any]) -> None:
    console = Console()
    console.print(table)
    counts = Counter(state.fresh for state in found)
    console.print(f"{counts[True]} fresh, {counts[False]} stale")


def _print_findings(wrong: Sequence[Finding]) -> None:
    for finding in wrong:
        print(f"{finding.state}: {finding.path}: {finding.why}")


def _summary(found: Sequence[Finding]) -> str:
    counts = Counter(finding.state for finding in found)
    return f"{len(found)} files: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _print_chain(chain: dict[str, Any]) -> None:
    value = "empty" if chain["value"] is None else chain["value"]
    value = f"{value:.6g} {chain['unit']}".strip() if isinstance(value, float) else value
    again = "the same" if chain["agrees"] else f"NOT the same: {chain['recomputed']}"
    print(f"{chain['name']}, {chain['row']}, {chain['column']}: {value}; computed again from its sources: {again}")
    for entry in chain["sources"]:
        where = ", ".join(f"{key}={item}" for key, item in entry["where"].items()) or "all rows"
        group = f" of {entry['group']}" if entry["group"] else ""
        print(
            f"  {entry['role']}{group}: {entry['measure']} of {entry['n']} items of {entry['artefact']} where {where}"
        )
    for path, known in chain["artefacts"].items():
        git = known["made"]["git"]
        commit = f"commit {git['commit'][:12]}{' with changes' if git['dirty'] else ''}" if git["commit"] else "no git"
        print(f"  {path} sha256 {known['sha256'][:12]}{'' if not known['wrong'] else ' NOT INTACT'}")
        print(f"    made {known['made']['ended'][:19]} by {known['rule']}, code {known['code']}, {commit}")
        if "model" in known:
            model = known["model"]
            print(f"    model {model['name']}: {model['repo']} {model['revision']}, weights {model['weights'][:12]}")
        for data in known.get("data", ()):
            print(f"    {data['what']}: {data['files']}, digest {data['digest'][:12]}")


def _print_differences(one: str, other: str, found: dict[str, dict[str, list]]) -> None:
    for kind, entries in found.items():
        if entries:
            print(f"{kind} ({one} | {other})")
        for key, (left, right) in entries.items():
            print(f"  {key}: {left} | {right}")
    if not any(found.values()):
        print("nothing differs")


def main() -> None:
    """Run the command; what a user can mend is one message and exit code 2."""
    try:
        app()
    except OffcourseError as error:
        print(f"offcourse: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
