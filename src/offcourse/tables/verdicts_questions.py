"""The table of verdicts on question sets (`analysis.benefits`): steering methods, and DoLa where one is beside it.

The numbers are of the metric by which settings are chosen: MC1, or the accuracy of FACTOR and of lettered pairs.
"""

from pathlib import Path

import pandas as pd

from offcourse.analysis.benefits import BENEFITS, compared, judged
from offcourse.analysis.steered_questions import METRICS, Steered
from offcourse.analysis.verdicts import LEVEL, MARGIN
from offcourse.analysis.view import ResultsView
from offcourse.tables import writing
from offcourse.tables.methods_questions import DOLA, PROMPTING, Contrasted, read_runs, same_questions

NAME = "verdicts_questions"
CAPTION = (
    "What each method does to each model on each question set. Shares with steering are held out: vectors are built "
    "from the other fold, and settings are chosen on one half of the questions and reported on the other. Numbers in "
    "brackets are 95% intervals."
)
NOTES = [
    f"No better than luck or prompting: the upper end of the difference is below {MARGIN:g}. Cannot be told with this "
    "many items: the questions are too few for any of the other words.",
    "Harm is not measured on question sets. So a method that is better than luck and than prompting "
    f"(p < {LEVEL:g}, Holm over the rows of a method) is not said to work.",
    "There are no control vectors on question sets: luck is the largest gain of a grid of this size that does nothing.",
    "Prompting is the method of this name, on the same questions; it is missing where it has others, or none.",
]


def write(view: ResultsView, out: Path) -> None:
    """Write `verdicts_questions.parquet`, `.csv` and `.md` into `out`, see `analysis.benefits`."""
    frame = judged(rows_of(view))
    writing.write_plain(out, NAME, "Verdicts on question sets", CAPTION, frame, BENEFITS, texts(frame), NOTES)


def rows_of(view: ResultsView) -> list[dict]:
    """A row of `BENEFITS` without corrections and verdict per method, model and question set; DoLa comes first."""
    forms = {name: form for method in view.steering for name, form in view.forms(method)}
    contrasted, steered = read_runs(view, forms, "halves")
    rows = []
    for (model, name), run in contrasted.items():
        beside = steered.get((PROMPTING, model, name))
        rows.append(_row(DOLA, model, name, forms[name], run, beside))
    for (method, model, name), run in steered.items():
        beside = steered.get((PROMPTING, model, name)) if method != PROMPTING else None
        rows.append(_row(view.label(method), model, name, forms[name], run, beside))
    return rows


def _row(label: str, model: str, name: str, form: str, run: Steered | Contrasted, beside: Steered | None) -> dict:
    lead = run.lead
    prompting = beside.steered(lead) if beside is not None and same_questions(run, beside) else None
    found = {"method": label, "model": model, "on": name, "measure": next(iter(METRICS[form].values()))}
    found |= compared(run.unsteered(lead), run.grid, run.steered(lead), prompting, name)
    return found | {"setting": run.setting()}


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The printed table, all text."""

    def number(value: float) -> str:
        return "" if pd.isna(value) else f"{value:.2f}"

    def interval(row, name: str) -> str:
        ends = [getattr(row, f"{name}{end}") for end in ("", "_low", "_high")]
        return "" if pd.isna(ends[0]) else "{:+z.2f} [{:+z.2f}, {:+z.2f}]".format(*ends)

    rows = [
        {
            "model": row.model,
            "method": row.method,
            "on": row.on,
            "verdict": row.verdict,
            "measure": row.measure,
            "items": str(row.items),
            "setting": row.setting,
            "unsteered": number(row.unsteered),
            "steered": number(row.steered),
            "prompting": number(row.prompting),
            "gain": interval(row, "gain"),
            "over prompting": interval(row, "over_prompting"),
        }
        for row in frame.itertuples()
    ]
    return pd.DataFrame(rows).set_index("model")
