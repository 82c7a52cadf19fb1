"""Verbs about one study: `status` (what is fresh), `audit` (the files behind a number), `capsule` (a number to go)."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offcourse.cli.app import COLUMN, NAME, ROW, AsJson, Config, Directory, Published, app, print_json, study_of
from offcourse.errors import OffcourseError, listed

if TYPE_CHECKING:
    from rich.table import Table

    from offcourse.audit.audit import Audit
    from offcourse.audit.finding import Finding
    from offcourse.audit.status import State
    from offcourse.published.audit import ReleaseAudit


@app.command()
def status(
    configfile: Config = Path("config.yaml"),
    directory: Directory = Path(),
    published: Published = False,
    as_json: AsJson = False,
) -> None:
    """Print whether each result of the study is fresh or stale, and what is missing or changed. A result belongs to a
    step, a model and a task or question set; with --published, print each rule of the release instead. Exit code 0 if
    all is fresh, else 1.
    """
    if published:
        _status_of_release(directory, as_json)
    from offcourse.audit.status import status as states
    from offcourse.data.architectures import path_of

    study, registry, layout = study_of(configfile, directory)
    found = states(study, registry, layout)
    plain = [name for name in study.models if path_of(registry.model(name).architecture) == "plain"]
    if as_json:
        print_json({"study": study.study, "plain": plain, "states": [state.as_dict() for state in found]})
    else:
        _print_states(found)
        if plain:
            print(f"On the plain path, with a whole forward per edit: {', '.join(plain)}.")
    raise typer.Exit(0 if all(state.fresh for state in found) else 1)


@app.command()
def audit(
    context: typer.Context,
    name: Annotated[str | None, NAME] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every result, and files that no record names.")] = False,
    row: Annotated[str | None, ROW] = None,
    column: Annotated[str | None, COLUMN] = None,
    configfile: Config = Path("config.yaml"),
    directory: Directory = Path(),
    published: Published = False,
    as_json: AsJson = False,
) -> None:
    """Hash again every file behind a table, a figure or the whole study (--all), down to the weights. With --row and
    --column, print what one number was computed from, and compute the number again. Exit code 0 if all is intact,
    else 1.
    """
    if (name is None) != everything:
        raise OffcourseError("say what to audit: a table or figure such as table3, or --all")
    if name is None and (row is not None or column is not None):
        raise OffcourseError("--row and --column belong to one table or figure; name it instead of --all")
    if column is not None and row is None:
        raise OffcourseError("--column needs --row")
    from offcourse.audit.hashing import Hashing, begun

    # In threads of their own, beside the imports that come next.
    hashing = Hashing() if everything or published else begun(configfile, directory, name)
    context.call_on_close(hashing.close)
    from offcourse.audit.audit import Audit
    from offcourse.audit.finding import INTACT

    checker = _release(directory) if published else Audit(*study_of(configfile, directory), hashing=hashing)
    again = _command(configfile, directory, published)
    if row is not None:
        _audit_cell(checker, name, row, column, as_json, again)
    found = checker.everything() if everything else checker.chain(name)
    wrong = [finding for finding in found if finding.state != INTACT]
    if as_json:
        labs = [{"host": host, "device": device, "results": n} for (host, device), n in checker.labs().items()]
        files = [file.as_dict() for file in found]
        print_json({"study": checker.layout.study, "intact": not wrong, "files": files, "labs": labs})
    else:
        _print_findings(wrong)
        print(_summary(found))
        for (host, device), count in checker.labs().items():
            print(f"{count} results of the study come from another lab's archive, computed by {host} on {device}")
        _print_advice(wrong, again)
        if published:
            print(checker.origin())
    raise typer.Exit(1 if wrong else 0)


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
    """Write one cell of a table to a folder, with prompts, numbers and a script that computes the cell again without
    Snakemake.
    """
    from offcourse.audit.audit import Audit
    from offcourse.audit.capsule import write_capsule

    chain = write_capsule(Audit(*study_of(configfile, directory)), name, row, column, folder)
    if as_json:
        print_json(chain)
    else:
        print(
            f"{folder}: {name}, {row}, {column} is {chain['value']}. Compute it again with python {folder}/recompute.py"
        )


def _status_of_release(directory: Path, as_json: bool) -> None:
    from offcourse.graph.release_rules import NAME as PUBLISHED
    from offcourse.published.status import status

    found = status(directory)
    if as_json:
        print_json({"study": PUBLISHED, "states": [state.as_dict() for state in found]})
    else:
        table = _table("rule", "files", "state")
        for state in found:
            table.add_row(state.rule, f"{state.there} of {state.files}", _state(state.fresh, "stale", state.why))
        _print_table(table, found)
    raise typer.Exit(0 if all(state.fresh for state in found) else 1)


def _release(directory: Path) -> "ReleaseAudit":
    from offcourse.published.audit import ReleaseAudit

    return ReleaseAudit(directory)


def _command(configfile: Path, directory: Path, published: bool) -> str:
    """The command that makes what is stale again."""
    from offcourse.layout import command_for_release

    if published:
        return command_for_release(directory)
    elsewhere = "" if directory.resolve() == Path.cwd() else f" --directory {shlex.quote(str(directory))}"
    return f"snakemake --cores all --configfile {shlex.quote(str(configfile))}{elsewhere}"


def _audit_cell(checker: "Audit", name: str, row: str, column: str | None, as_json: bool, again: str) -> None:
    from offcourse.audit.finding import INTACT
    from offcourse.audit.lineage import lineage_of

    chain = lineage_of(checker, name, row, column)
    found = list(checker.behind(chain["table"]))
    wrong = [finding for finding in found if finding.state != INTACT]
    if as_json:
        print_json({**chain, "intact": not wrong, "wrong": [finding.as_dict() for finding in wrong]})
    else:
        _print_chain(chain)
        _print_findings(wrong)
        print(f"Behind it {_summary(found)}")
        _print_advice(wrong, again)
    raise typer.Exit(0 if chain["agrees"] and not wrong else 1)


def _print_states(found: "Sequence[State]") -> None:
    table = _table("step", "model", "unit", "state")
    for state in found:
        words = _state(state.fresh, "stale" if state.job else "damaged", state.why)
        table.add_row(state.step, state.model, state.unit, words)
    _print_table(table, found)


def _table(*columns: str) -> "Table":
    from rich.table import Table

    return Table(*columns, box=None)


def _state(fresh: bool, kind: str, why: Sequence[str]) -> str:
    from rich.markup import escape

    return "[green]fresh[/]" if fresh else f"[yellow]{kind}:[/] {escape('; '.join(why))}"


def _print_table(table: "Table", found: Sequence[Any]) -> None:
    from offcourse.printing import print_table

    print_table(table)
    counts = Counter(state.fresh for state in found)
    print(f"{counts[True]} fresh, {counts[False]} stale")


def _print_findings(wrong: "Sequence[Finding]") -> None:
    for finding in wrong:
        print(f"{finding.state}: {finding.path}: {finding.why}")


def _print_advice(wrong: "Sequence[Finding]", again: str) -> None:
    """Say of files that are whole and stale what has changed since, and which command makes them again."""
    from offcourse.audit.finding import damaged

    if not wrong or damaged(wrong):
        return
    changed = list(dict.fromkeys(why for finding in wrong for why in finding.why.split("; ")))
    print(
        f"No file is damaged: each is what its record says. What {len(wrong)} of them were made with has changed "
        f"since: {listed(changed)}. To have them from today's code and settings, run: {again}"
    )


def _mark(wrong: Sequence[dict[str, str]]) -> str:
    """What is said of an artefact with findings, as plain JSON, on itself or on files behind it."""
    from offcourse.audit.finding import STALE

    if not wrong:
        return ""
    return " intact, STALE" if all(finding["state"] == STALE for finding in wrong) else " NOT INTACT"


def _summary(found: "Sequence[Finding]") -> str:
    counts = Counter(finding.state for finding in found)
    return f"{len(found)} files: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))


def _print_chain(chain: dict[str, Any]) -> None:
    value = "empty" if chain["value"] is None else chain["value"]
    value = f"{value:.6g} {chain['unit']}".strip() if isinstance(value, float) else value
    again = "the same" if chain["agrees"] else f"NOT the same: {chain['recomputed']}"
    how = "computed again from its sources" if chain["sources"] else "the whole table made again from the results"
    print(f"{chain['name']}, {chain['row']}, {chain['column']}: {value}; {how}: {again}")
    for entry in chain["sources"]:
        where = ", ".join(f"{key}={item}" for key, item in entry["where"].items()) or "all rows"
        group = f" of {entry['group']}" if entry["group"] else ""
        print(
            f"  {entry['role']}{group}: {entry['measure']} of {entry['n']} items of {entry['artefact']} where {where}"
        )
    for path, known in chain["artefacts"].items():
        git = known["made"]["git"]
        commit = f"commit {git['commit'][:12]}{' with changes' if git['dirty'] else ''}" if git["commit"] else "no git"
        print(f"  {path} sha256 {known['sha256'][:12]}{_mark(known['wrong'])}")
        print(f"    made {known['made']['ended'][:19]} by {known['rule']}, code {known['code']}, {commit}")
        if known.get("archive"):
            made = known["made"]
            print(f"    by another lab: {made['host']} on {made['device']}, archive {known['archive']}")
        if "model" in known:
            model = known["model"]
            print(f"    model {model['name']}: {model['repo']} {model['revision']}, weights {model['weights'][:12]}")
        for data in known.get("data", ()):
            print(f"    {data['what']}: {data['files']}, digest {data['digest'][:12]}")
