"""Verbs about steering methods and vector files: `judge` (a verdict on one), `export-vector` (a method's vectors)."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from offcourse.cli.app import AsJson, Config, Directory, app, print_json, study_of


@app.command()
def judge(
    subject: Annotated[str, typer.Argument(metavar="METHOD|FILE", help="A method, or a vector file.")],
    model: Annotated[list[str] | None, typer.Option(help="A model; may be repeated (a file: exactly one).")] = None,
    tasks: Annotated[
        str,
        typer.Option(help="Tasks, with commas (without --questions: present-past,country-capital)."),
    ] = "",
    questions: Annotated[str, typer.Option(help="Question sets, with commas.")] = "",
    items: Annotated[int, typer.Option(min=4, help="Evaluated words per task, and questions per set.")] = 40,
    passages: Annotated[int, typer.Option(min=2, help="Neutral passages on which harm is measured.")] = 50,
    strengths: Annotated[str, typer.Option(help="Strengths, with commas (default: the method's own).")] = "",
    operation: Annotated[str | None, typer.Option(help="Of a file that does not say it: add, project_out, ...")] = None,
    positions: Annotated[str | None, typer.Option(help="Of a file that does not say it: all, last, ...")] = None,
    together: Annotated[
        bool | None, typer.Option("--together/--each", help="All layers of a file at once, or each alone.")
    ] = None,
    cores: Annotated[str, typer.Option(help="Cores for the run.")] = "all",
    directory: Directory = Path(),
    as_json: AsJson = False,
) -> None:
    """Judge a steering method, one of the paper's methods or a vector file: run the small study that is needed, and
    print a card with a verdict per model and task or question set. The card is also written as HTML and JSON below
    results/judged.
    """
    from offcourse.data.registry import Registry
    from offcourse.errors import OffcourseError
    from offcourse.files import write_json
    from offcourse.judge import card as cards
    from offcourse.judge import page
    from offcourse.judge.asked import asked
    from offcourse.judge.run import run
    from offcourse.layout import Layout

    if cores != "all" and not (cores.isdecimal() and int(cores) > 0):
        raise OffcourseError(f"--cores: expected a number of cores, or all, got {cores!r}")
    try:
        factors = [float(part) for part in strengths.split(",") if part.strip()]
    except ValueError as error:
        raise OffcourseError(f"--strengths: expected numbers such as 1,2,4, got {strengths!r}") from error
    registry = Registry.load()
    given = {"operation": operation, "positions": positions, "together": together}
    units = [[part.strip() for part in text.split(",") if part.strip()] for text in (tasks, questions)]
    wanted = asked(subject, model or [], units[0], given, registry, items, passages, factors, units[1])
    # The file is read here first, so that whatever is wrong with it is said before anything is written.
    wanted.check(registry)
    path = wanted.write(directory)
    layout = Layout(path.parent.name, directory)
    began = time.monotonic()
    run(path, directory, cards.targets(layout, wanted), cores)
    found = cards.card(wanted, path, directory, time.monotonic() - began)
    write_json(path.with_name("card.json"), found)
    page.write(found, path.with_name("card.html"))
    if as_json:
        print_json(found)
    else:
        print("\n".join(cards.lines(found)))
        print(f"{found['seconds']:.0f} s. Card: {path.with_name('card.html')}, card.json beside it", file=sys.stdout)


@app.command("export-vector")
def export_vector(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A steering method of the study.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
    model: Annotated[str, typer.Option(help="A model of the study.")],
    task: Annotated[str, typer.Option(help="A task of the study.")],
    kind: Annotated[str, typer.Option("--format", help="safetensors, gguf or lm-eval.")] = "safetensors",
    layers: Annotated[str, typer.Option(help="Only these blocks, as 3 or 1-5,9.")] = "",
    strength: Annotated[float | None, typer.Option(help="Multiply the vectors as the method does.")] = None,
    positions: Annotated[
        str | None, typer.Option(help="Other positions than the method's, which makes another method of the vectors.")
    ] = None,
    configfile: Config = Path("config.yaml"),
    directory: Directory = Path(),
) -> None:
    """Write the vectors of a study's method as a vector file: safetensors with their facts, a control vector in GGUF
    (llama.cpp, repeng), or a steering file of lm-evaluation-harness.
    """
    from offcourse.judge.export import export, layers_of, vectors_of

    study, registry, layout = study_of(configfile, directory)
    found = vectors_of(study, registry, layout, method, model, task, layers_of(layers), strength, positions)
    export(out, found, kind, registry, layout, model)
    each = "together" if found.together else "each alone"
    print(
        f"{out}: {len(found.layers)} blocks of {method} for {model} on {task}, {found.operation} at {found.positions} "
        f"positions, {each}; numbers sha256 {found.sha256}"
    )
    if kind != "safetensors" and not found.together and len(found.layers) > 1:
        print("A reader of this format edits all blocks at once; --layers N exports one of them.")
