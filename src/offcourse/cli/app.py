"""The command itself, and what its verbs share: options, the study they are about, printing."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from offcourse.checkout import require_own
from offcourse.data.registry import Registry
from offcourse.layout import Layout
from offcourse.study.config import read_study

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _own(folder: Path) -> Path:
    require_own(folder)
    return folder


Config = Annotated[Path, typer.Option("--configfile", help="The study.")]
Directory = Annotated[Path, typer.Option("--directory", callback=_own, help="Where the study runs (as for snakemake).")]
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
    require_own(Path())


def study_of(configfile: Path, directory: Path) -> tuple:
    """The study of a configuration, checked, with the registry and the layout of its folder."""
    study = read_study(configfile)
    registry = Registry.load()
    study.check(registry)
    return study, registry, Layout(study.study, directory)


def print_json(document: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(document, indent=2, ensure_ascii=False))
