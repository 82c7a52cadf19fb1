"""The table of methods on question sets: MC1 to MC3 or accuracy, beside no vector and an instruction.

DoLa has a row where a steering method is on the same model and set; its numbers are those of Tables 1 and 2.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from offcourse.analysis import inference, selection, truthfulness
from offcourse.analysis.results import read_dola
from offcourse.analysis.sources import CHANGE, SHARE
from offcourse.analysis.steered_questions import METRICS, Steered, measure, read
from offcourse.analysis.view import ResultsView
from offcourse.schemas.results import as_cells
from offcourse.tables import dola, dola_runs, writing

PROMPTING, DOLA, NO_CONTRAST = "prompting", "DoLa", ("", 0.0, "base")
CAPTION = (
    "Shares of questions without a vector, with one at the best layer and strength (DoLa: in its best setting) and "
    "with an instruction in front, and what steering changes against both. Each fold of a set is judged by vectors "
    "that were built from the other."
)
UNSTEERED, STEERED, CHANGED = "unsteered", "steered", "change"
COLUMNS = (UNSTEERED, STEERED, PROMPTING, CHANGED, f"{CHANGED} against {PROMPTING}")


@dataclass(frozen=True)
class Contrasted:
    """DoLa on one model and question set, with the numbers that `Steered` has of a steering method."""

    run: dola_runs.DolaRun

    @property
    def questions(self) -> str:
        """Name of the question set."""
        return self.run.questions

    @property
    def metrics(self) -> pd.DataFrame:
        """From `truthfulness.per_question`, a row per question and setting."""
        return self.run.metrics

    @property
    def lead(self) -> str:
        """The column by which settings are chosen."""
        return self.run.lead

    @property
    def grid(self) -> np.ndarray:
        """[settings, questions]: column `lead` of every setting with the softmax."""
        return self.run.grid

    def unsteered(self, column: str) -> np.ndarray:
        """[questions] of the model alone."""
        return self.run.values(_no_contrast, column).mean(0)

    def steered(self, column: str) -> np.ndarray:
        """[questions] in the settings that were chosen without the question, mean over the halvings."""
        return self.run.values(self.run.best, column).mean(0)

    def setting(self) -> str:
        """The setting that is chosen most often, in words."""
        (bucket, alpha, _), share = self.run.usual(self.run.best)
        where = f"bucket {bucket} % with alpha {alpha:g}"
        return where if self.run.selected == "same_items" else f"{where} ({share:.0%} of the choices)"

    def entries(self, role: str, column: str, edited: bool = True) -> list[dict]:
        """Entries of `sources` of `steered`, or of `unsteered`."""
        return self.run.entries(role, self.run.best if edited else _no_contrast, column)


def _no_contrast(questions: np.ndarray) -> dola_runs.Setting:
    return NO_CONTRAST


def write(view: ResultsView, out: Path) -> None:
    """Write `table_methods_questions` into `out`: parquet of schema `CELLS`, and the printed forms.

    The protocol's `selection` decides on which questions layers and strengths are chosen, see `analysis.selection`.
    """
    shared, selected = view.switch("ties") == "shared", view.switch("selection")
    rows, lines, apart = [], [], []
    forms = {name: form for method in view.steering for name, form in view.forms(method)}
    contrasted, runs = read_runs(view, forms, selected)
    for (model, name), run in contrasted.items():
        row, beside = row_of(DOLA, model, name), runs.get((PROMPTING, model, name))
        rows += _cells_of(row, run, _comparable(row, run, beside, apart), forms[name], shared)
        lines.append(f"{DOLA}, {dola.choices(run.run)}")
    for (method, model, name), run in runs.items():
        row = row_of(view.label(method), model, name)
        beside = runs.get((PROMPTING, model, name)) if method != PROMPTING else None
        rows += _cells_of(row, run, _comparable(row, run, beside, apart), forms[name], shared)
        lines.append(_chosen(row, run))
    table = as_cells(rows)
    lines += apart
    if contrasted:
        lines.append(
            f"{DOLA} adds no vector: it contrasts the final layer with an earlier one. Its numbers are those of Tables "
            "1 and 2, here with intervals of the same kind as the other rows'."
        )
    lines.append(selection.note(selected, "Layers and strengths" + (", and DoLa's settings," if contrasted else "")))
    lines.append(
        "Intervals are 95 % by bootstrap over questions. A change is steered less the other, question by question."
    )
    if not any(method == PROMPTING for method, _, _ in runs):
        lines.append("No prompting stands beside, since the study does not have prompting.questions.")
    title = "Steering methods on question sets"
    writing.write(out, "_methods_questions", CAPTION, table, printed(table), lines, title=title)


def row_of(label: str, model: str, questions: str) -> str:
    """The table's row of a method on a model and question set."""
    return f"{label}, {model} ({questions})"


def read_runs(
    view: ResultsView, forms: Mapping[str, str], selected: str
) -> tuple[dict[tuple[str, str], Contrasted], dict[tuple[str, str, str], Steered]]:
    """({(model, set): DoLa}, {(method, model, set): a steering method}) of a study, by its protocol.

    DoLa is there where a steering method is on the same model and set. forms: of the sets. selected: on which questions
    settings are chosen, see `analysis.selection`.
    """
    shared, exact = view.switch("ties") == "shared", view.switch("score_dtype") == "float64"
    runs = {
        (method, model, name): read(view, method, model, name, forms[name], selected, shared, exact)
        for method in view.steering
        for model, name in _pairs(view, method)
    }
    steered = list(dict.fromkeys((model, name) for _, model, name in runs))
    return {pair: read_contrasted(view, *pair, forms[pair[1]], selected) for pair in _both(view, steered)}, runs


def read_contrasted(view: ResultsView, model: str, name: str, form: str, selected: str) -> Contrasted:
    """DoLa on one model and question set, by the study's protocol. form: of the set. selected: as in `read_runs`."""
    removed, exact = view.switch("dola_mask") == "removed", view.switch("score_dtype") == "float64"
    how = view.switch("ties") == "shared", selected, removed, exact
    metrics = truthfulness.per_question(read_dola(view, model, name), removed, exact)
    return Contrasted(dola_runs.run_of(view, model, name, form, metrics, *how))


def _both(view: ResultsView, steered: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The models and sets that DoLa is on as well."""
    models, names = view.scope("dola")
    return [(model, name) for model, name in steered if model in models and name in names]


def same_questions(run: Contrasted | Steered, beside: Steered) -> bool:
    """Whether two methods are on the same questions of a set."""
    return set(run.metrics["question"]) == set(beside.metrics["question"])


def _comparable(row: str, run: Steered | Contrasted, beside: Steered | None, apart: list[str]) -> Steered | None:
    """Prompting if it is on the same questions as a run; otherwise None, and `apart` gets a sentence that says so."""
    if beside is None or same_questions(run, beside):
        return beside
    counts = [each.metrics["question"].nunique() for each in (run, beside)]
    apart.append(
        f"{row} is on {counts[0]} questions and prompting on {counts[1]} (limit), so the two are not compared."
    )
    return None


def _cells_of(row: str, run: Steered | Contrasted, beside: Steered | None, form: str, shared: bool) -> list[tuple]:
    return [
        (row, f"{label} {what}", *cell)
        for metric, label in METRICS[form].items()
        for what, *cell in cells(run, beside, metric, measure(metric, shared))
    ]


def _pairs(view: ResultsView, method: str) -> list[tuple[str, str]]:
    models, names = view.scope(method)
    return [(model, name) for name in names for model in models]


def cells(run: Steered | Contrasted, beside: Steered | None, metric: str, column: str) -> Iterator[tuple]:
    """(what, value, n, low, high, unit, sources) of one metric. beside: prompting on the same model and questions.

    column: the metric's, with or without shared ties.
    """
    sides = {
        UNSTEERED: (run.unsteered(column), run.entries("value", column, edited=False)),
        STEERED: (run.steered(column), run.entries("value", column)),
    }
    if beside is not None:
        sides[PROMPTING] = (beside.steered(column), beside.entries("value", column))
    for what, (values, entries) in sides.items():
        yield what, *_mean(values, run.questions, inference.over_items), SHARE, json.dumps(entries)
    steered, _ = sides.pop(STEERED)
    against = {what: [{**entry, "role": "against"} for entry in entries] for what, (_, entries) in sides.items()}
    for what, (values, _) in sides.items():
        sources = [*run.entries("steered", column), *against[what]]
        name = CHANGED if what == UNSTEERED else f"{CHANGED} against {what}"
        yield (
            name,
            *_mean(steered - values, run.questions, partial(inference.difference_over_items, metric=metric)),
            CHANGE,
            json.dumps(sources),
        )


def _mean(values: np.ndarray, questions: str, interval: Callable) -> tuple[float, int, float, float]:
    # DoLa can be on a single question; a steering method cannot, since its sets have two folds.
    low, high = interval(values, questions) if len(values) > 1 else (np.nan, np.nan)
    return float(values.mean()), len(values), low, high


def _chosen(row: str, run: Steered) -> str:
    count = len(run.settings)
    best = f"the best of {count} settings" if count > 1 else "the one setting"
    return f"{row}: {len(run.unsteered(run.lead))} questions, {best} is {run.setting()}."


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """The printed table: methods by columns, as text; the report sets each interval below its number."""
    text = [f"{cell.value:{'+z.2f' if cell.unit == CHANGE else '.2f'}}" for cell in table.itertuples()]
    form = table.assign(text=text).pivot(index="row", columns="column", values="text").fillna("")
    metrics = list(dict.fromkeys(column.split()[0] for column in table["column"]))
    columns = [f"{metric} {what}" for metric in metrics for what in COLUMNS]
    form = form.reindex(index=table["row"].unique(), columns=[name for name in columns if name in form])
    return form.rename_axis(index="Method", columns=None)
