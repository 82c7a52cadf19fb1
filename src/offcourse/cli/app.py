"""The command `offcourse`, and code that its verbs share: options, reading the study, printing.

What a verb needs is imported by the verb: pandas and pandera alone take longer than printing a help text.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offcourse import __version__
from offcourse.checkout import require_own

if TYPE_CHECKING:
    from offcourse.data.registry import Registry
    from offcourse.layout import Layout
    from offcourse.study.config import Study

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _own(folder: Path) -> Path:
    require_own(folder)
    return folder


def _version(asked: bool) -> None:
    if asked:
        print(f"offcourse {__version__}")
        raise typer.Exit


Config = Annotated[Path, typer.Option("--configfile", help="The study's YAML file.")]
Directory = Annotated[Path, typer.Option("--directory", callback=_own, help="Working directory of the study.")]
Published = Annotated[
    bool, typer.Option("--published", help="The authors' released results instead of a study (make published).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
NAME = typer.Argument(metavar="TABLE", help="A table, figure or page, as table3, figure9/gemma-3-270m, report.")
ROW = typer.Option(help='A printed row of a table; a point of a figure, as in "layer=3 head=1".')
COLUMN = typer.Option(help="A printed column of a table; a plotted number of a figure.")


@app.callback()
def offcourse(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Show what a study has, what is stale and why, and where each number comes from. (`snakemake` runs a study.)

    Exit codes: 0 fine; 1 something is stale, damaged, different or not found; 2 bad input.
    """
    require_own(Path())


def study_of(configfile: Path, directory: Path) -> "tuple[Study, Registry, Layout]":
    """(study, registry, layout) of a configuration file and a working directory; the study is checked."""
    from offcourse.data.registry import Registry
    from offcourse.layout import Layout
    from offcourse.study.check import check_study
    from offcourse.study.config import read_study

    study = read_study(configfile)
    registry = Registry.load()
    check_study(study, registry, base=directory)
    return study, registry, Layout(study.study, directory)


def print_json(document: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(document, indent=2, ensure_ascii=False))
