"""The table of verdicts on question sets (`analysis.benefits`): steering methods, and DoLa where one is beside it.

The numbers are of the metric by which settings are chosen: MC1, or the accuracy of FACTOR and of lettered pairs.
"""

from pathlib import Path

from offcourse.analysis.steered_questions import METRICS, Steered
from offcourse.analysis.verdicts import LEVEL, MARGIN, compared
from offcourse.analysis.view import ResultsView
from offcourse.tables.benefits import write_verdicts
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
    write_verdicts(out, NAME, "Verdicts on question sets", CAPTION, rows_of(view), NOTES)


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
