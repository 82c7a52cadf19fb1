"""The table of verdicts on task vectors, beside their own few-shot prompts (`analysis.benefits`)."""

from pathlib import Path

from offcourse.analysis.benefits import apart
from offcourse.analysis.results import tv_icl_path, tv_sweep_path
from offcourse.analysis.verdicts import LEVEL, MARGIN
from offcourse.analysis.view import ResultsView
from offcourse.schemas.function_vectors import ICL
from offcourse.schemas.io import read_parquet
from offcourse.schemas.task_vectors import TV_SWEEP
from offcourse.tables.benefits import write_verdicts

NAME, LABEL = "verdicts_task_vectors", "Task vectors"
CAPTION = (
    "What task vectors do to each model on each task: accuracy on the test prompts, at the layer that is best on the "
    "development prompts. Numbers in brackets are 95% intervals."
)
NOTES = [
    f"No better than luck or prompting: the upper end of the difference is below {MARGIN:g}. Cannot be told with this "
    "many items: the prompts are too few for any of the other words.",
    "Harm is not measured for task vectors, and there are no controls. So where they are better than luck, which is "
    f"doing nothing, and than prompting (p < {LEVEL:g}, Holm over the rows), they are not said to work.",
    "Prompting is the few-shot accuracy on task vectors' own prompts; instructions are not measured on them. Prompts "
    "with a vector, without one and with examples are different ones, so nothing is paired: intervals are Newcombe's, "
    "p-values Fisher's.",
]


def write(view: ResultsView, out: Path) -> None:
    """Write `verdicts_task_vectors.parquet`, `.csv` and `.md` into `out`, see `analysis.benefits`."""
    models, tasks = view.scope("task_vectors")
    rows = [row_of(view, model, task) for model in models for task in tasks]
    write_verdicts(out, NAME, "Verdicts on task vectors", CAPTION, rows, NOTES)


def row_of(view: ResultsView, model: str, task: str) -> dict:
    """The numbers of one model and task."""
    sweep = read_parquet(view / tv_sweep_path(model, task), TV_SWEEP)
    layer = int(sweep[sweep["split"] == "dev"].groupby("layer")["hit"].mean().idxmax())
    steered = sweep[(sweep["split"] == "test") & (sweep["layer"] == layer)]["hit"]
    icl = read_parquet(view / tv_icl_path(model, task), ICL)
    base, few = (icl[icl["shots"] == shots]["hit"].to_numpy(float) for shots in (0, icl["shots"].max()))
    found = {"model": model, "method": LABEL, "on": task, "measure": "accuracy", "few_shot": few.mean()}
    found["setting"] = f"layer {layer}, chosen on the development prompts"
    return found | apart(base, steered.to_numpy(float), few)
