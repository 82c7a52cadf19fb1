"""Verbs that add a row to a table of the registry: a model, a task."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from offcourse.cli.app import app

OWN_FILES = "Use an undamaged copy of the model's files"
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the row and write nothing.")]
Name = Annotated[str, typer.Option("--name", help="The row's name (default: from the file or repository).")]
Label = Annotated[str, typer.Option("--label", help="The label in tables and figures (default: from the name).")]


@contextmanager
def _saying_so() -> Iterator[None]:
    """Let every message of a refusal say that nothing was written."""
    from offcourse.errors import OffcourseError

    try:
        yield
    except OffcourseError as error:
        # Nobody prepares the user's own folder anew.
        said = re.sub(r"Delete \S+ and run again: (it|the model) is prepared anew", OWN_FILES, str(error))
        if "othing was written" not in said:
            said = f"{said.rstrip('.')}. Nothing was written."
        raise OffcourseError(said) from error


@app.command("add-model")
def add_model(
    model: Annotated[str, typer.Argument(metavar="REPO|FOLDER|FILE.gguf", help="What to add.")],
    name: Name = "",
    label: Label = "",
    revision: Annotated[str, typer.Option("--revision", help="Branch, tag or commit on the hub.")] = "main",
    checks: Annotated[bool, typer.Option("--checks/--no-checks", help="Run the self-checks on the weights.")] = True,
    dry_run: DryRun = False,
) -> None:
    """Fill a row of resources/models.tsv from a model's own files, check the model, and write the row and its pin."""
    from dataclasses import replace

    from offcourse.adding.draft import draft, name_from
    from offcourse.adding.origin import loadable, opened
    from offcourse.data.names import RESOURCES
    from offcourse.data.pins import LOCK
    from offcourse.data.registry import Registry, append_row, cells_of, check_row, shown
    from offcourse.errors import OffcourseError
    from offcourse.models.pin import pin

    table = RESOURCES / "models.tsv"
    registry = Registry.load(locked=False)
    if (taken := name or name_from(model)) in registry.names:
        raise OffcourseError(
            f"{table} has a model {taken!r} already; choose another --name, or delete that row. Nothing was written."
        )
    with _saying_so(), opened(model, revision, next(iter(registry.models.values()))) as origin:
        row = draft(origin, name, label)
        if other := next((each.name for each in registry.models.values() if each.label == row.label), ""):
            raise OffcourseError(
                f"the label {row.label!r} is the one of model {other!r}, so that tables could not tell them apart; "
                "choose another --label."
            )
        said = "The self-checks run before the model's first result."
        if checks and origin.weights is not None:
            from offcourse.methods.check_model import report_checks

            with loadable(origin) as folder:
                said, methods = report_checks(folder, row)
            row = replace(row, methods=methods)
        check_row(table.name, row)
        print(f"{table}, a new row:\n{shown(row)}\n{said}")
    if dry_run:
        print("Nothing was written (--dry-run).")
        return
    if row.source == "hub":
        # The pin comes first: a row without one stops every study that names it.
        pin(dict(registry.models) | {row.name: row}, [row.name], RESOURCES / LOCK)
        print(f"{RESOURCES / LOCK}: {row.name} is pinned.")
    append_row(table, cells_of(row))
    here = " Its files are on this machine, so the row works nowhere else." if row.source == "local" else ""
    print(f"{table}: {row.name} was added. Commit the table.{here}")


@app.command("add-task")
def add_task(
    file: Annotated[Path, typer.Argument(metavar="FILE.tsv", help="A list of word pairs, two columns with a header.")],
    name: Name = "",
    label: Label = "",
    group: Annotated[str, typer.Option("--group", help="linguistic, factual, to-english or from-english.")] = "factual",
    match: Annotated[str, typer.Option("--match", help="exact, synonym or prefix (task vectors).")] = "exact",
    dry_run: DryRun = False,
) -> None:
    """Check a list of word pairs, and write its row of resources/tasks.tsv and its copy in resources/words."""
    from offcourse.data.add_task import draft_task, write_task
    from offcourse.data.names import RESOURCES
    from offcourse.data.registry import Registry

    with _saying_so():
        task, said = draft_task(file, Registry.load(locked=False), name, label, group, match)
    print(said)
    if dry_run:
        print("Nothing was written (--dry-run).")
        return
    write_task(task, file, RESOURCES)
    print(f"{RESOURCES / 'tasks.tsv'}: {task.name} was added, with {RESOURCES / 'words' / task.words}. Commit both.")
