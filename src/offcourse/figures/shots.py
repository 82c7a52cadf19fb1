"""In-context accuracy at 0, 5 and 10 shots, mean over tasks (Figure 11)."""

import numpy as np
import pandas as pd
import pandera.pandas as pa
from matplotlib.figure import FigureBase

from offcourse.analysis.inference import logit_interval
from offcourse.analysis.results import Folder, icl_path, items_by_shots, read_shots
from offcourse.analysis.sources import listed, source
from offcourse.analysis.view import ResultsView
from offcourse.errors import OffcourseError
from offcourse.figures import style

SHOTS = (0, 5, 10)
LOOKS = {0: (style.GREY, "o"), 5: (style.BLUE, "s"), 10: (style.ORANGE, "D")}
OTHER = (style.GREEN, "^")

# `accuracy` is the mean over `tasks`, `ci_low` to `ci_high` its 95% interval (missing with a single task, and where all
# tasks have accuracy 0 or all have 1). `n` is the number of items of a task, of the task with the fewest.
NUMBERS = pa.DataFrameSchema(
    {
        "model": pa.Column(str),
        "shots": pa.Column(int),
        "accuracy": pa.Column(float, pa.Check.in_range(0, 1)),
        "ci_low": pa.Column(float, nullable=True),
        "ci_high": pa.Column(float, nullable=True),
        "tasks": pa.Column(int, pa.Check.gt(0)),
        "n": pa.Column(int, pa.Check.gt(0)),
        "sources": pa.Column(str),
    },
    strict=True,
    ordered=True,
)


def numbers(results: Folder, models: list[str], tasks: list[str]) -> pd.DataFrame:
    """Mean accuracy by model and shots, see `NUMBERS`.

    The interval is Student's over tasks, on the scale of log odds, so that it ends between 0 and 1. For a study with
    fewer than 10 shots, the largest number of shots that all pairs have is shown instead.

    Raises `OffcourseError` if the pairs share no number of shots.
    """
    by_pair = {(model, task): read_shots(results, model, task) for model in models for task in tasks}
    common = sorted(set.intersection(*(set(shots.index) for shots in by_pair.values())))
    if not common:
        raise OffcourseError(
            "the in-context results of this study's tasks share no number of shots. Run the workflow again."
        )
    largest = max((shots for shots in common if shots <= SHOTS[-1]), default=common[0])
    shown = sorted({shots for shots in SHOTS if shots in common} | {largest})
    rows = []
    for model in models:
        items = {task: items_by_shots(results, icl_path(model, task)) for task in tasks}
        for shots in shown:
            values = np.array([by_pair[model, task].loc[shots] for task in tasks])
            low, high = logit_interval(values)
            fewest = min(int(items[task].loc[shots]) for task in tasks)
            entries = [
                source("accuracy", icl_path(model, task), {"shots": int(shots)}, items[task].loc[shots], group=task)
                for task in tasks
            ]
            rows.append((model, int(shots), values.mean(), low, high, len(tasks), fewest, listed(*entries)))
    return pd.DataFrame(rows, columns=list(NUMBERS.columns)).astype({"ci_low": float, "ci_high": float})


def page(view: ResultsView, shown: style.Shown) -> style.Page:
    """A line per model from top to bottom, a dot per number of shots."""
    models, tasks = view.scope("function_vectors")
    drawn, labels = numbers(view, models, tasks), view.model_labels(models)
    counts = sorted(drawn["shots"].unique())
    # Title, axis, note and legend take 1.5 inches. The fewer the models, the higher their rows.
    size = (5.6, 1.5 + max(0.24, 0.62 - 0.02 * len(models)) * len(models))

    def compose(canvas: FigureBase) -> None:
        panel = canvas.subplots()
        for step, shots in enumerate(counts):
            colour, marker = LOOKS.get(shots, OTHER)
            points = drawn[drawn["shots"] == shots].set_index("model").loc[models]
            y = np.arange(len(models)) + 0.22 * (step - (len(counts) - 1) / 2)
            panel.hlines(y, points["ci_low"], points["ci_high"], color=colour, linewidth=1.4, alpha=0.6)
            look = {"color": colour, "marker": marker, "markersize": 5, "linestyle": "none", "label": f"{shots}-shot"}
            style.line(panel, pd.DataFrame({"accuracy": points["accuracy"], "y": y}), "accuracy", "y", **look)
        panel.set(xlim=(-0.02, 1.02), ylim=(len(models) - 0.5, -0.5))
        panel.set_yticks(range(len(models)), labels, fontsize=8)
        panel.grid(axis="y", visible=False)
        for edge in range(1, len(models)):
            panel.axhline(edge - 0.5, color=style.RC["grid.color"], linewidth=0.6)
        panel.set_xlabel("accuracy without steering")
        items = drawn["n"].min()
        spread = f"mean and 95% interval over {len(tasks)} tasks, at least {items} items a task"
        spread = spread if len(tasks) > 1 else f"one task, {items} items"
        fewer = "" if max(counts) == SHOTS[-1] else f"; at most {max(counts)} shots here"
        style.note(canvas, spread + fewer)
        panel.set_title("In-context accuracy by number of shots")
        canvas.legend(loc="outside upper center", ncols=len(counts), handletextpad=0.2)

    return style.Page(size, drawn, NUMBERS, compose)
