"""Accuracy of task vectors against layer, a page per model and a panel per task (Figures 18 and 19)."""

import pandas as pd
import pandera.pandas as pa

from offcourse.analysis.results import (
    Folder,
    read_tv_items,
    read_tv_shots,
    read_tv_sweep,
    tv_icl_path,
    tv_sweep_path,
)
from offcourse.analysis.sources import listed, source
from offcourse.analysis.view import ResultsView
from offcourse.figures import by_layer, style

# Accuracy on the development prompts, see `by_layer.schema`.
NUMBERS = by_layer.schema(task=pa.Column(str))


def numbers(results: Folder, model: str, tasks: list[str]) -> pd.DataFrame:
    """The drawn numbers of one model's page, of schema `NUMBERS`."""
    parts = []
    for task in tasks:
        shots = read_tv_shots(results, model, task)
        accuracy = read_tv_sweep(results, model, task)["dev"].rename("accuracy").reset_index()
        sweep, tried = tv_sweep_path(model, task), read_tv_items(results, model, task, "dev")
        lines, entries = by_layer.without_vector(results, tv_icl_path(model, task), shots, int(shots.index.max()))
        sources = [
            listed(source("accuracy", sweep, {"split": "dev", "layer": layer}, tried), *entries)
            for layer in accuracy["layer"]
        ]
        parts.append(accuracy.assign(task=task, n=tried, **lines, sources=sources))
    return pd.concat(parts, ignore_index=True)[list(NUMBERS.columns)]


def page(view: ResultsView, shown: style.Shown) -> style.Page:
    """The page of one model: a panel per task; accuracies without a vector are horizontal lines."""
    line, model, tasks = {"color": style.BLUE}, shown["model"], view.tasks("task_vectors")
    return by_layer.page(
        numbers(view, model, tasks),
        NUMBERS,
        tasks,
        view.cell("models", "label", model),
        "replaced layer",
        {"task vector, 0-shot": line},
        lambda axes, mine: style.line(axes, mine, "layer", "accuracy", **line),
    )
