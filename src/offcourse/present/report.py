"""The reader's report: one HTML file that needs no network."""

import base64
import os
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from offcourse.analysis.results import read_model
from offcourse.artefacts import CELLS, read_parquet, write_whole
from offcourse.errors import OffcourseError
from offcourse.present import figure_sweep, forms, table_methods, tables_dola
from offcourse.present import tables as table_forms
from offcourse.present.labels import task_label
from offcourse.registry import STEERING
from offcourse.steering import steering

# What a reader is told that each method asks.
QUESTIONS = {
    "function_vectors": "How much of what a model learns from examples in its prompt does a function vector give back "
    "without them?",
    "task_vectors": "How much does a task vector?",
    "dola": "Is a model more truthful when an earlier layer is held against its last one (DoLa)?",
    "logit_lens": "At which layer does it come to prefer its answer, and which layers change little?",
    **{name: steering(name).question for name in STEERING},
}
METHODS = tuple(QUESTIONS)
# Settings that a study may leave to others; only those that it makes are shown.
OPTIONAL = ("models", "tasks", "dtype", "large")
SUFFIXES = ("parquet", "svg", "png")


def write(
    results: Path,
    study: Mapping[str, Any],
    figures: Sequence[Mapping[str, Any]],
    tables: Sequence[Mapping[str, Any]],
    models: Sequence[str],
    out: Path,
    audits: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Write the report of a study to `out`.

    `figures` and `tables` are those of `contents`; their paths are relative to `results`, as are the links that the
    report holds to them (relative to `out`). Of the sweep pages the best and the worst recovered task of each model
    are shown and the others are linked. audits: by id of a table or figure, the `command` that audits it, the `code`
    fingerprint it was made with, and its `state` now.
    """
    results, out = Path(results), Path(out)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        study=study,
        questions=[QUESTIONS[method] for method in study.get("methods", METHODS)],
        settings=settings(study),
        models=[_model(results, model) for model in models],
        tables=[_table(results, table, out) for table in tables],
        figures=[_figure(results, list(pages), out) for _, pages in groupby(figures, key=lambda page: page["figure"])],
        task_label=task_label,
        audits=audits or {},
    )
    write_whole(out, lambda path: path.write_text(page, encoding="utf-8"))


def settings(study: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The study's keys and values as text, nested keys joined by a dot.

    What a site sets (`resources`) and the settings of methods that are not run stay out.
    """
    hidden = {"resources", *METHODS} - set(study.get("methods", METHODS))
    lines = []
    for key, value in study.items():
        if key in hidden:
            continue
        if isinstance(value, Mapping):
            said = {inner: item for inner, item in value.items() if item is not None or inner not in OPTIONAL}
            lines += [(f"{key}.{inner}", _text(item)) for inner, item in said.items()]
        else:
            lines.append((key, _text(value)))
    return lines


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    return "not set" if value is None else str(value)


def _model(results: Path, model: str) -> dict[str, Any]:
    """The model's facts, with the names of the self-checks that it passed and failed."""
    facts = read_model(results, model)
    checks = facts["checks"].items()
    return {
        **facts,
        "passed": [name for name, check in checks if check["passed"]],
        "failed": [name for name, check in checks if not check["passed"]],
    }


def _table(results: Path, table: Mapping[str, Any], out: Path) -> dict[str, Any]:
    path = results / table["parquet"]
    cells = read_parquet(path, CELLS)
    own = table["id"] == "table3"
    if own:
        form = table_forms.paper_form(cells)
    elif table["id"] == table_methods.NAME:
        form = table_methods.paper_form(cells)
    else:
        form = tables_dola.printed(int(table["id"].removeprefix("table")), cells)
    known = cells[cells["unit"] == table_forms.PERCENT] if own else cells
    known = known.set_index(["row", "column"])
    rows = [
        (row, [(form.loc[row, column], _interval(known, row, column)) for column in form.columns]) for row in form.index
    ]
    lines = path.with_suffix(".md").read_text(encoding="utf-8").splitlines()
    return {
        **table,
        "columns": [f"≥ {column}" if own else column for column in form.columns],
        "rows": rows,
        "notes": [line.removeprefix("- ") for line in lines if line.startswith("- ")],
        "links": {suffix: _link(path.with_suffix(f".{suffix}"), out) for suffix in forms.SUFFIXES},
    }


def _interval(cells: pd.DataFrame, row: str, column: str) -> str:
    """The 95% interval of a cell as text, empty where there is none."""
    if (row, column) not in cells.index:
        return ""
    cell = cells.loc[(row, column)]
    ends = "{:.0f}–{:.0f}%" if cell["unit"].startswith("%") else "{:.3f}–{:.3f}"
    return "" if pd.isna(cell["ci_low"]) else ends.format(cell["ci_low"], cell["ci_high"])


def _figure(results: Path, pages: list[Mapping[str, Any]], out: Path) -> dict[str, Any]:
    """One figure with its `shown` pages, as pictures, and its `linked` ones."""
    shown, linked = (_choose_sweeps(results, pages)) if pages[0]["figure"] == "figure17" else (pages, [])
    return {
        "id": pages[0]["figure"],
        "title": pages[0]["title"],
        "explanation": pages[0]["explanation"],
        "shown": [{**page, "picture": _picture(results, page), "links": _links(results, page, out)} for page in shown],
        "linked": [{**page, "links": _links(results, page, out)} for page in linked],
    }


def _choose_sweeps(results: Path, pages: list[Mapping[str, Any]]) -> tuple[list, list]:
    """Each model's best and worst recovered task, and then the pages of all others."""
    shown, linked = [], []
    for _, group in groupby(pages, key=lambda page: page["model"]):
        ranked = sorted(
            ({**page, "recovery": _recovery(results, page)} for page in group),
            key=lambda page: -1.0 if pd.isna(page["recovery"]) else page["recovery"],
            reverse=True,
        )
        ends = ranked[:1] + ranked[1:][-1:]
        shown += [{**page, "rank": rank} for page, rank in zip(ends, ("best", "worst"), strict=False)]
        linked += [page for page in ranked if page not in ends]
    return shown, linked


def _recovery(results: Path, page: Mapping[str, Any]) -> float:
    """Peak recovery (Eq. 7) from the numbers that the page draws."""
    drawn = read_parquet((results / page["svg"]).with_suffix(".parquet"), figure_sweep.NUMBERS)
    drawn = drawn[drawn["control"] == ""]
    few_shot = drawn["few_shot"].iloc[0]
    return drawn["accuracy"].max() / few_shot if few_shot > 0 else float("nan")


def _picture(results: Path, page: Mapping[str, Any]) -> str:
    """The smaller of SVG and PNG as a data address: a picture of its own, so that ids of two SVGs cannot clash."""
    svg = results / page["svg"]
    png = svg.with_suffix(".png")
    try:
        path, kind = min((svg, "svg+xml"), (png, "png"), key=lambda choice: choice[0].stat().st_size)
        return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
    except OSError as error:
        raise OffcourseError(f"the report needs {svg} and {png}: {error.strerror}. Run the workflow again.") from error


def _links(results: Path, page: Mapping[str, Any], out: Path) -> dict[str, str]:
    return {suffix: _link((results / page["svg"]).with_suffix(f".{suffix}"), out) for suffix in SUFFIXES}


def _link(path: Path, out: Path) -> str:
    return Path(os.path.relpath(path, out.parent)).as_posix()
