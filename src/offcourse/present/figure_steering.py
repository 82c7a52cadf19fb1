"""Accuracy of a steering method against layer, a page per model, a panel per task and a line per strength."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from offcourse.analysis import recovery
from offcourse.analysis.results import (
    icl_path,
    items_by_shots,
    read_model,
    read_shots,
    read_steering,
    steering_path,
)
from offcourse.analysis.sources import listed, source
from offcourse.present import style
from offcourse.present.labels import task_label

COLUMNS = 3
# A row per vertex of the lines; `few_shot` is the accuracy with `shots` examples.
NUMBERS = pa.DataFrameSchema(
    {
        "task": pa.Column(str),
        "strength": pa.Column(float),
        "layer": pa.Column(int),
        "accuracy": pa.Column(float, pa.Check.in_range(0, 1)),
        "n": pa.Column(int),
        "zero_shot": pa.Column(float, pa.Check.in_range(0, 1)),
        "few_shot": pa.Column(float, pa.Check.in_range(0, 1)),
        "shots": pa.Column(int),
        "sources": pa.Column(str),
    },
    strict=True,
    ordered=True,
)


def numbers(results: Path, method: str, model: str, tasks: Sequence[str]) -> pd.DataFrame:
    """What the page of one model draws, see `NUMBERS`."""
    parts = []
    for task in tasks:
        shots = read_shots(results, model, task)
        count, few_shot = recovery.baseline(shots)
        found = read_steering(results, method, model, task).groupby(["strength", "layer"])["hit"]
        frame = found.agg(accuracy="mean", n="size").reset_index()
        path, swept = icl_path(model, task), steering_path(method, model, task)
        items = items_by_shots(results, path)
        lines = [source(role, path, {"shots": k}, items.loc[k]) for role, k in (("zero_shot", 0), ("few_shot", count))]
        entries = [
            listed(source("accuracy", swept, {"strength": row.strength, "layer": row.layer}, row.n), *lines)
            for row in frame.itertuples()
        ]
        more = {"zero_shot": float(shots.loc[0]), "few_shot": few_shot, "shots": count, "sources": entries}
        parts.append(frame.assign(task=task, **more))
    return pd.concat(parts, ignore_index=True)[list(NUMBERS.columns)]


def draw(results: Path, method: str, label: str, model: str, tasks: Sequence[str], stem: Path) -> None:
    """A panel per task, each with the accuracies without a vector as horizontal lines. label: of the method."""
    drawn = numbers(results, method, model, tasks)
    strengths = sorted(drawn["strength"].unique())
    shades = [colormaps["Blues"](0.4 + 0.6 * (i + 1) / len(strengths)) for i in range(len(strengths))]
    lines = [{"color": shade} for shade in shades]
    columns = min(COLUMNS, math.isqrt(len(tasks) - 1) + 1)
    rows = -(-len(tasks) // columns)
    with style.applied():
        figure = Figure(figsize=(max(4.4, 2.3 * columns + 0.5), 1.7 * rows + 1.2), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for panel, task in zip(panels.flat, tasks, strict=False):
            mine = drawn[drawn["task"] == task]
            panel.axhline(mine["few_shot"].iloc[0], **style.FEW_SHOT)
            panel.axhline(mine["zero_shot"].iloc[0], **style.ZERO_SHOT)
            for line, (_, setting) in zip(lines, mine.groupby("strength"), strict=True):
                panel.plot(setting["layer"], setting["accuracy"], **line)
            panel.set_title(task_label(task))
            panel.set(ylim=(-0.04, 1.04), yticks=[0, 0.5, 1], xlim=(-0.2, mine["layer"].max() + 0.2))
            panel.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=2))
        for panel in list(panels.flat)[len(tasks) :]:
            panel.set_visible(False)
        figure.suptitle(f"{read_model(results, model)['label']}: {label}")
        for panel in panels.flat[max(0, len(tasks) - columns) : len(tasks)]:
            panel.set_xlabel("steered layer")
            panel.tick_params(labelbottom=True)
        figure.supylabel("accuracy")
        handles = [panels[0, 0].plot([], [], **line)[0] for line in (*lines, style.FEW_SHOT, style.ZERO_SHOT)]
        names = [f"strength {strength:g}" for strength in strengths]
        names += [f"no vector, {drawn['shots'].max()}-shot", "no vector, zero-shot"]
        figure.legend(handles, names, loc="outside lower center", ncols=3, handlelength=2.2)
        style.save(figure, drawn, NUMBERS, stem)
