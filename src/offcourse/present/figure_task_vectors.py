"""Accuracy of task vectors against layer, a page per model and a panel per task (Figures 18 and 19)."""

import math
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from offcourse.analysis.results import (
    items_by_shots,
    read_model,
    read_tv_items,
    read_tv_shots,
    read_tv_sweep,
    tv_icl_path,
    tv_sweep_path,
)
from offcourse.analysis.sources import listed, source
from offcourse.present import style
from offcourse.present.labels import task_label

COLUMNS = 3
# A row per vertex of the lines: accuracy on the development prompts; `few_shot` is that with `shots` examples.
NUMBERS = pa.DataFrameSchema(
    {
        "task": pa.Column(str),
        "layer": pa.Column(int),
        "accuracy": pa.Column(float, pa.Check.in_range(0, 1)),
        "zero_shot": pa.Column(float, pa.Check.in_range(0, 1)),
        "few_shot": pa.Column(float, pa.Check.in_range(0, 1)),
        "shots": pa.Column(int),
        "sources": pa.Column(str),
    },
    strict=True,
    ordered=True,
)


def numbers(results: Path, model: str, tasks: list[str]) -> pd.DataFrame:
    """What the page of one model draws, see `NUMBERS`."""
    parts = []
    for task in tasks:
        shots = read_tv_shots(results, model, task)
        accuracy = read_tv_sweep(results, model, task)["dev"].rename("accuracy").reset_index()
        count, path, sweep = int(shots.index.max()), tv_icl_path(model, task), tv_sweep_path(model, task)
        items, tried = items_by_shots(results, path), read_tv_items(results, model, task, "dev")
        lines = [source(role, path, {"shots": k}, items.loc[k]) for role, k in (("zero_shot", 0), ("few_shot", count))]
        parts.append(
            accuracy.assign(
                task=task,
                zero_shot=float(shots.loc[0]),
                few_shot=float(shots.loc[count]),
                shots=count,
                sources=[
                    listed(source("accuracy", sweep, {"split": "dev", "layer": layer}, tried), *lines)
                    for layer in accuracy["layer"]
                ],
            )
        )
    return pd.concat(parts, ignore_index=True)[list(NUMBERS.columns)]


def draw(results: Path, model: str, tasks: list[str], stem: Path) -> None:
    """A panel per task, each with the accuracies without a vector as horizontal lines."""
    drawn = numbers(results, model, tasks)
    # As square as it goes: four tasks are two rows of two, the paper's nine three of three.
    columns = min(COLUMNS, math.isqrt(len(tasks) - 1) + 1)
    rows = -(-len(tasks) // columns)
    with style.applied():
        figure = Figure(figsize=(2.3 * columns + 0.5, 1.7 * rows + 1.0), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for panel, task in zip(panels.flat, tasks, strict=False):
            mine = drawn[drawn["task"] == task]
            panel.axhline(mine["few_shot"].iloc[0], **style.FEW_SHOT)
            panel.axhline(mine["zero_shot"].iloc[0], **style.ZERO_SHOT)
            panel.plot(mine["layer"], mine["accuracy"], color=style.BLUE)
            panel.set_title(task_label(task))
            panel.set(ylim=(-0.04, 1.04), yticks=[0, 0.5, 1], xlim=(-0.2, mine["layer"].max() + 0.2))
            panel.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=2))
        for panel in list(panels.flat)[len(tasks) :]:
            panel.set_visible(False)
        figure.suptitle(read_model(results, model)["label"])
        # Labels of panels keep clear of a legend below them, a label of the figure does not.
        for panel in panels.flat[max(0, len(tasks) - columns) : len(tasks)]:
            panel.set_xlabel("replaced layer")
            panel.tick_params(labelbottom=True)
        counts = {read_tv_items(results, model, task, "dev") for task in tasks}
        figure.supylabel(f"accuracy (share of {' or '.join(map(str, sorted(counts)))} items)")
        lines = ({"color": style.BLUE}, style.FEW_SHOT, style.ZERO_SHOT)
        handles = [panels[0, 0].plot([], [], **line)[0] for line in lines]
        names = ["task vector, zero-shot", f"no vector, {drawn['shots'].max()}-shot", "no vector, zero-shot"]
        figure.legend(handles, names, loc="outside lower center", ncols=3, handlelength=2.2)
        style.save(figure, drawn, NUMBERS, stem)
