"""Causal indirect effect of every attention head, one panel per task (Figures 9 and 10)."""

import pandas as pd
import pandera.pandas as pa
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from offcourse.analysis.results import Folder, cie_path
from offcourse.analysis.sources import listed, source
from offcourse.analysis.view import ResultsView
from offcourse.figures import style
from offcourse.schemas.function_vectors import CIE
from offcourse.schemas.io import read_parquet
from offcourse.schemas.released import CIE_SHADES
from offcourse.study.labels import task_label

# `effect` is the mean over `trials` of the difference in probability of the right first token. The release has effects
# for one task only, and null for the others. Only the release has `shade`: the effect's place between the task's
# smallest (0) and largest (1) effect.
_COLUMNS = {
    "task": pa.Column(str),
    "layer": pa.Column(int),
    "head": pa.Column(int),
    "effect": pa.Column(float, pa.Check.in_range(-1, 1), nullable=True),
    "trials": pa.Column(int, pa.Check.gt(0)),
    "sources": pa.Column(str),
}
NUMBERS = pa.DataFrameSchema(_COLUMNS, strict=True, ordered=True)
SHADES = pa.DataFrameSchema({**_COLUMNS, "shade": pa.Column(float, pa.Check.in_range(0, 1))}, strict=True, ordered=True)


def numbers(results: Folder, model: str, tasks: list[str]) -> pd.DataFrame:
    """Mean effect of each head, of schema `NUMBERS`; for the release of schema `SHADES`."""
    frames = []
    for task in tasks:
        effects = read_parquet(results / cie_path(model, task), CIE, CIE_SHADES).astype({"effect": float})
        measure = "shade" if "shade" in effects else "effect"
        mean = effects
        if measure == "effect":
            grouped = effects.groupby(["layer", "head"], sort=True)["effect"]
            mean = grouped.agg(effect="mean", trials="size").reset_index()
        mean.insert(0, "task", task)
        mean["sources"] = [
            listed(source(measure, cie_path(model, task), {"layer": row.layer, "head": row.head}, row.trials, measure))
            for row in mean.itertuples()
        ]
        frames.append(mean)
    found = pd.concat(frames, ignore_index=True)
    return found[list((SHADES if "shade" in found else NUMBERS).columns)]


def page(view: ResultsView, shown: style.Shown) -> style.Page:
    """Heat maps: layers from left to right, heads from bottom to top; every panel has its own colour bar, white at 0.

    The release's panels have no zero, so they share one bar from each task's smallest effect to its largest.
    """
    model, tasks = shown["model"], view.tasks("function_vectors")
    drawn = numbers(view, model, tasks)
    shaded = "shade" in drawn
    label = view.cell("models", "label", model)
    layers, heads = drawn["layer"].max() + 1, drawn["head"].max() + 1
    columns = min(len(tasks), 3 if layers < 2 * heads else 2)
    rows = -(-len(tasks) // columns)
    width = 7.6 / columns if columns > 1 else 5.2
    height = min(2.6, max(1.3, 0.85 * width * heads / layers)) + 0.35

    def compose(canvas: FigureBase) -> None:
        axes = canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for panel, task in zip(axes, tasks, strict=False):
            mine = drawn[drawn["task"] == task]
            cells = mine.pivot(index="head", columns="layer", values="shade" if shaded else "effect")
            image = _panel(panel, cells, task_label(task), shaded)
            if not shaded:
                _bar(canvas, image, panel)
            elif mine["effect"].notna().all():
                ends = f"{mine['effect'].min():.3f} to {mine['effect'].max():.3f}".replace("-", "\N{MINUS SIGN}")
                panel.set_title(f"{task_label(task)} ({ends})")
        for panel in axes[len(tasks) :]:
            panel.remove()
        for panel in axes[max(0, len(tasks) - columns) : len(tasks)]:
            panel.tick_params(labelbottom=True)
        if shaded:
            bar = canvas.colorbar(image, ax=list(axes[: len(tasks)]), pad=0.01, aspect=30)
            bar.set_ticks([0, 1], labels=["least\nof the task", "most\nof the task"])
            bar.outline.set_linewidth(0.4)
        canvas.suptitle(
            f"{label}: causal indirect effect\n(change in probability, mean over {drawn['trials'].max()} prompts)"
        )
        canvas.supxlabel("layer")
        canvas.supylabel("attention head")

    size = (width * columns, 0.95 + height * rows)
    return style.Page(size, drawn, SHADES if shaded else NUMBERS, compose)


def _panel(panel: Axes, cells: pd.DataFrame, title: str, shaded: bool) -> AxesImage:
    if shaded:
        colours = {"cmap": style.SHADES, "vmin": 0, "vmax": 1}
    else:
        # A panel whose effects are all 0 is white, on an arbitrary scale.
        limit = cells.abs().max().max() or 1.0
        colours = {"cmap": style.DIVERGING, "vmin": -limit, "vmax": limit}
    image = panel.imshow(cells, origin="lower", aspect="auto", interpolation="nearest", **colours)
    panel.set_title(title)
    panel.grid(False)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    return image


def _bar(canvas: FigureBase, image: AxesImage, panel: Axes) -> None:
    bar = canvas.colorbar(image, ax=panel, pad=0.02, aspect=14)
    bar.ax.yaxis.set_major_locator(MaxNLocator(nbins=4, symmetric=True))
    bar.outline.set_linewidth(0.4)
