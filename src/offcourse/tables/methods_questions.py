"""The table of steering methods on question sets: MC1 to MC3 or accuracy, beside no vector and an instruction."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from offcourse.analysis import inference, selection
from offcourse.analysis.sources import CHANGE, SHARE
from offcourse.analysis.steered_questions import METRICS, Steered, measure, read
from offcourse.analysis.view import ResultsView
from offcourse.schemas.results import as_cells
from offcourse.tables import writing

PROMPTING = "prompting"
CAPTION = (
    "Shares of questions without a vector, with one at the best layer and strength and with an instruction in front, "
    "and what steering changes against both. Each fold of a set is judged by vectors that were built from the other."
)


def write(view: ResultsView, out: Path) -> None:
    """Write `table_methods_questions` into `out`: parquet of schema `CELLS`, and the printed forms.

    The protocol's `selection` decides on which questions layers and strengths are chosen, see `analysis.selection`.
    """
    shared, exact = view.switch("ties") == "shared", view.switch("score_dtype") == "float64"
    selected, rows, lines = view.switch("selection"), [], []
    forms = {name: form for method in view.steering for name, form in view.forms(method)}
    runs = {
        (method, model, name): read(view, method, model, name, forms[name], selected, shared, exact)
        for method in view.steering
        for model, name in _pairs(view, method)
    }
    for (method, model, name), run in runs.items():
        row = f"{view.label(method)}, {model} ({name})"
        beside = runs.get((PROMPTING, model, name)) if method != PROMPTING else None
        for metric, label in METRICS[forms[name]].items():
            rows += [(row, f"{label} {what}", *cell) for what, *cell in cells(run, beside, measure(metric, shared))]
        lines.append(_chosen(row, run))
    table = as_cells(rows)
    lines.append(selection.note(selected, "Layers and strengths"))
    lines.append(
        "Intervals are 95 % by bootstrap over questions. A change is steered less the other, question by question."
    )
    if not any(method == PROMPTING for method, _, _ in runs):
        lines.append("No prompting stands beside, since the study does not have prompting.questions.")
    title = "Steering methods on question sets"
    writing.write(out, "_methods_questions", CAPTION, table, printed(table), lines, title=title)


def _pairs(view: ResultsView, method: str) -> list[tuple[str, str]]:
    models, names = view.scope(method)
    return [(model, name) for name in names for model in models]


def cells(run: Steered, beside: Steered | None, column: str) -> Iterator[tuple]:
    """(what, value, n, low, high, unit, sources) of one metric. beside: prompting on the same model and questions."""
    sides = {
        "unsteered": (run.unsteered(column), run.entries("value", column, edited=False)),
        "steered": (run.steered(column), run.entries("value", column)),
    }
    if beside is not None:
        sides["prompting"] = (beside.steered(column), beside.entries("value", column))
    for what, (values, entries) in sides.items():
        yield what, *_mean(values, run.questions, (0.0, 1.0)), SHARE, json.dumps(entries)
    steered, _ = sides.pop("steered")
    against = {what: [{**entry, "role": "against"} for entry in entries] for what, (_, entries) in sides.items()}
    for what, (values, _) in sides.items():
        sources = [*run.entries("steered", column), *against[what]]
        name = "change" if what == "unsteered" else f"change against {what}"
        yield name, *_mean(steered - values, run.questions, (-1.0, 1.0)), CHANGE, json.dumps(sources)


def _mean(values: np.ndarray, questions: str, bounds: tuple[float, float]) -> tuple[float, int, float, float]:
    low, high = inference.over_items(values, questions, bounds)
    return float(values.mean()), len(values), low, high


def _chosen(row: str, run: Steered) -> str:
    (strength, layer), share = run.usual()
    where = f"strength {strength:g}" + (f" at layer {layer}" if len({each for _, each in run.settings}) > 1 else "")
    often = "" if run.selected == "same_items" else f" ({share:.0%} of the choices)"
    return (
        f"{row}: {len(run.unsteered(run.lead))} questions, the best of {len(run.settings)} settings is {where}{often}."
    )


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """The printed table: methods by columns, as text; the report sets each interval below its number."""
    text = [f"{cell.value:{'+z.2f' if cell.unit == CHANGE else '.2f'}}" for cell in table.itertuples()]
    form = table.assign(text=text).pivot(index="row", columns="column", values="text").fillna("")
    form = form.reindex(index=table["row"].unique(), columns=table["column"].unique())
    return form.rename_axis(index="Method", columns=None)
