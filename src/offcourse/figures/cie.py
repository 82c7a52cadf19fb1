"""Causal indirect effect of every attention head, one panel per task (Figures 9 and 10)."""

import math

import numpy as np
import pandas as pd
import pandera.pandas as pa
from matplotlib.colors import Normalize, SymLogNorm
from matplotlib.figure import FigureBase
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from offcourse.analysis.results import Folder, cie_path
from offcourse.analysis.sources import listed, source
from offcourse.analysis.view import ResultsView
from offcourse.data.effects import rounding_floor
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
# `floor`: what rows without an edit read on this task (`data.effects.rounding_floor`). The release has no such rows.
_FLOOR = {"floor": pa.Column(float, pa.Check.in_range(0, 1))}
NUMBERS = pa.DataFrameSchema({**_COLUMNS, **_FLOOR}, strict=True, ordered=True)
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
            mean = grouped.agg(effect="mean", trials="size").reset_index().assign(floor=rounding_floor(effects))
        mean.insert(0, "task", task)
        mean["sources"] = [
            listed(source(measure, cie_path(model, task), {"layer": row.layer, "head": row.head}, row.trials, measure))
            for row in mean.itertuples()
        ]
        frames.append(mean)
    found = pd.concat(frames, ignore_index=True)
    return found[list((SHADES if "shade" in found else NUMBERS).columns)]


def page(view: ResultsView, shown: style.Shown) -> style.Page:
    """Heat maps: layers from left to right, heads from bottom to top; one colour bar for all panels, white at 0.

    The bar is linear around 0 and logarithmic beyond, so that tasks with weak and with strong heads can be compared.
    The release's panels have no zero; their bar goes from each task's smallest effect to its largest.
    """
    model, tasks = shown["model"], view.tasks("function_vectors")
    drawn = numbers(view, model, tasks)
    shaded = "shade" in drawn
    label = view.cell("models", "label", model)
    layers, heads = drawn["layer"].max() + 1, drawn["head"].max() + 1
    columns = min(len(tasks), 3 if layers < 2 * heads else 2)
    rows = -(-len(tasks) // columns)
    width = 6.6 / columns if columns > 1 else 4.6
    height = min(2.6, max(1.1, 0.85 * width * heads / layers)) + 0.35
    colours, norm = (style.SHADES, Normalize(0, 1)) if shaded else (style.DIVERGING, _norm(drawn["effect"]))

    def compose(canvas: FigureBase) -> None:
        axes = canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for panel, task in zip(axes, tasks, strict=False):
            mine = drawn[drawn["task"] == task]
            cells = mine.pivot(index="head", columns="layer", values="shade" if shaded else "effect").to_numpy(float)
            image = style.heat_map(panel, cells, colours, norm)
            image.set_rasterized(True)
            known = mine["effect"].notna().all()
            panel.set_title(f"{task_label(task)} ({_ends(mine['effect'])})" if known else task_label(task))
        for panel in axes[len(tasks) :]:
            panel.remove()
        axes[0].set(ylim=(0, heads))
        for panel in axes[: len(tasks)]:
            # The middle of a cell is half a cell from its edge.
            panel.xaxis.set_major_locator(FixedLocator(_ticks(layers) + 0.5))
            panel.yaxis.set_major_locator(FixedLocator(_ticks(heads) + 0.5))
            panel.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at - 0.5:.0f}"))
            panel.yaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at - 0.5:.0f}"))
        for panel in axes[max(0, len(tasks) - columns) : len(tasks)]:
            panel.tick_params(labelbottom=True)
            panel.set_xlabel("layer")
        bar = canvas.colorbar(image, ax=list(axes[: len(tasks)]), pad=0.01, aspect=30)
        if shaded:
            bar.set_label("effect, from the task's\nleast to its largest")
            bar.set_ticks([0, 1], labels=["least", "largest"])
        else:
            ticks = [norm.linthresh, 10 * norm.linthresh, norm.vmax]
            ticks = [*(-at for at in ticks[::-1]), 0.0, *ticks]
            bar.set_ticks(ticks, labels=[_signed(at) for at in ticks])
            bar.set_label(f"change in probability\n(log scale beyond ±{norm.linthresh:g})")
        bar.minorticks_off()
        bar.outline.set_linewidth(0.4)
        canvas.suptitle(f"{label}: causal indirect effect of each attention head")
        canvas.supylabel("attention head")
        floor = "" if shaded else f"; rounding alone gives up to {_signed(drawn['floor'].max())}"
        style.note(
            canvas, f"means over {style.span(drawn['trials'])} prompts a task; in brackets least and largest{floor}"
        )

    size = (width * columns + 0.6, float(1.15 + height * rows))
    return style.Page(size, drawn, SHADES if shaded else NUMBERS, compose)


def _norm(effects: pd.Series) -> SymLogNorm:
    """One scale for all panels: linear up to the power of ten that is at least 100 times below the largest effect."""
    # Effects that are all 0 are white, on an arbitrary scale.
    limit = float(effects.abs().max()) or 1.0
    return SymLogNorm(10.0 ** math.floor(math.log10(limit) - 2 + 1e-9), vmin=-limit, vmax=limit)


def _ticks(count: int) -> np.ndarray:
    return np.array([at for at in MaxNLocator(nbins=6, integer=True).tick_values(0, count - 1) if 0 <= at < count])


def _ends(effects: pd.Series) -> str:
    return f"{_signed(effects.min())} to {_signed(effects.max())}"


def _signed(value: float) -> str:
    return f"{value:.2g}".replace("-", "\N{MINUS SIGN}")
