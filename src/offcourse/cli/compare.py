"""Verbs that compare studies with each other, with the authors' release and with the paper, and find results."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from offcourse.cli.app import AsJson, Config, Directory, app, print_json


@app.command()
def diff(
    one: Annotated[
        str, typer.Argument(metavar="A", help="Name or folder of a finished study, or `published` for the release.")
    ],
    other: Annotated[str, typer.Argument(metavar="B", help="Another study, or another copy of the release.")],
    directory: Directory = Path(),
    as_json: AsJson = False,
) -> None:
    """Print what differs between two studies, or two copies of the release: switches, parameters, versions, models,
    code, numbers. Exit code 0 if nothing differs, else 1.
    """
    from offcourse.audit.diff import differences_between, study_folder

    found = differences_between(study_folder(one, directory), study_folder(other, directory))
    if as_json:
        print_json({"a": one, "b": other, "differences": found})
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
    from offcourse.layout import Layout
    from offcourse.study.config import read_study

    study = read_study(configfile).study
    frame = printed.comparison(Layout(PUBLISHED, directory).results, Layout(study, directory).results)
    frame = frame if table is None else printed.of_table(frame, table)
    counted = printed.counts(frame)
    if as_json:
        cells = json.loads(frame.to_json(orient="records", force_ascii=False))
        print_json({"study": study, "counts": counted.to_dict(orient="index"), "cells": cells})
    else:
        if table:
            _print_cells(frame)
        else:
            _print_cells(frame[frame["verdict"].isin([printed.ROUNDING, printed.DIFFERENT])])
        print(counted.to_string())
    raise typer.Exit(1 if frame["verdict"].eq(printed.DIFFERENT).any() else 0)


@app.command()
def find(
    where: Annotated[list[str], typer.Option(help="An entry of a record, key=value; if repeated, all must hold.")],
    directory: Directory = Path(),
    as_json: AsJson = False,
) -> None:
    """Print the results of all studies whose records have certain entries, as in --where task=antonym --where step=cie.
    Exit code 0 if there are any, else 1.
    """
    from offcourse.audit.find import find as find_results

    found = find_results(directory, where)
    if as_json:
        print_json({"where": where, "results": found})
    else:
        for result in found:
            print(f"{result['path']}  {result['sha256'][:12]}")
        if not found:
            print(f"no result below {directory / 'results'} has {' and '.join(where)}", file=sys.stderr)
    raise typer.Exit(0 if found else 1)


def _print_cells(frame: Any) -> None:
    from rich.markup import escape
    from rich.table import Table

    from offcourse.printing import print_table

    table = Table("table", "row", "column", "printed", "release", "ours", "verdict", "reason", box=None)
    for cell in frame.itertuples():
        numbers = (
            lacks if value != value else f"{value:.6g}"
            for value, lacks in ((cell.release, ""), (cell.ours, cell.ours_why))
        )
        texts = (cell.table, cell.row, cell.column, cell.printed, *numbers, cell.verdict, cell.reason)
        table.add_row(*map(escape, texts))
    print_table(table)


def _print_differences(one: str, other: str, found: dict[str, dict[str, list]]) -> None:
    for kind, entries in found.items():
        if entries:
            print(f"{kind} ({one} | {other})")
        for key, (left, right) in entries.items():
            print(f"  {key}: {left} | {right}")
    if not any(found.values()):
        print("nothing differs")
