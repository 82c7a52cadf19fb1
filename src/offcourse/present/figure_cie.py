"""Causal indirect effect of every attention head, one panel per task (Figures 9 and 10)."""

from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from offcourse.analysis.results import cie_path, read_model
from offcourse.analysis.sources import listed, source
from offcourse.artefacts import CIE, read_parquet
from offcourse.present import style
from offcourse.present.labels import task_label

# `effect` is the mean over `trials` of the difference in probability of the right first token.
NUMBERS = pa.DataFrameSchema(
    {
        "task": pa.Column(str),
        "layer": pa.Column(int),
        "head": pa.Column(int),
        "effect": pa.Column(float, pa.Check.in_range(-1, 1)),
        "trials": pa.Column(int, pa.Check.gt(0)),
        "sources": pa.Column(str),
    },
    strict=True,
    ordered=True,
)


def numbers(results: Path, model: str, tasks: list[str]) -> pd.DataFrame:
    """Mean effect of each head, see `NUMBERS`."""
    frames = []
    for task in tasks:
        effects = read_parquet(Path(results) / cie_path(model, task), CIE).astype({"effect": float})
        mean = effects.groupby(["layer", "head"], sort=True)["effect"].agg(effect="mean", trials="size").reset_index()
        mean.insert(0, "task", task)
        mean["sources"] = [
            listed(
                source("effect", cie_path(model, task), {"layer": row.layer, "head": row.head}, row.trials, "effect")
            )
            for row in mean.itertuples()
        ]
        frames.append(mean)
    return pd.concat(frames, ignore_index=True)


def draw(results: Path, model: str, tasks: list[str], stem: Path) -> None:
    """Layers from left to right, heads from bottom to top; every panel has a colour bar of its own, white at 0."""
    drawn = numbers(results, model, tasks)
    label = read_model(results, model)["label"]
    layers, heads = drawn["layer"].max() + 1, drawn["head"].max() + 1
    columns = min(len(tasks), 3 if layers < 2 * heads else 2)
    rows = -(-len(tasks) // columns)
    with style.applied():
        width = 7.6 / columns if columns > 1 else 5.2
        height = min(2.6, max(1.3, 0.85 * width * heads / layers)) + 0.35
        figure = Figure(figsize=(width * columns, 0.95 + height * rows), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for panel, task in zip(axes, tasks, strict=False):
            effect = drawn[drawn["task"] == task].pivot(index="head", columns="layer", values="effect")
            _panel(figure, panel, effect, task_label(task))
        for panel in axes[len(tasks) :]:
            panel.remove()
        for panel in axes[max(0, len(tasks) - columns) : len(tasks)]:
            panel.tick_params(labelbottom=True)
        figure.suptitle(
            f"{label}: causal indirect effect\n(change in probability, mean over {drawn['trials'].max()} prompts)"
        )
        figure.supxlabel("layer")
        figure.supylabel("attention head")
        style.save(figure, drawn, NUMBERS, stem)


def _panel(figure: Figure, panel: Axes, effect: pd.DataFrame, title: str) -> None:
    # A panel without any effect is white all over, on an arbitrary scale.
    limit = effect.abs().max().max() or 1.0
    image = panel.imshow(
        effect, cmap=style.DIVERGING, vmin=-limit, vmax=limit, origin="lower", aspect="auto", interpolation="nearest"
    )
    panel.set_title(title)
    panel.grid(False)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    bar = figure.colorbar(image, ax=panel, pad=0.02, aspect=14)
    bar.ax.yaxis.set_major_locator(MaxNLocator(nbins=4, symmetric=True))
    bar.outline.set_linewidth(0.4)
