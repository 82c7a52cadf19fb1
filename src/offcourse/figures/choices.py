"""The number of heads, the strength and the layer that recover most, models by tasks (Figures 13 to 15)."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd
import pandera.pandas as pa
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import FigureBase
from matplotlib.patches import Rectangle

from offcourse.analysis import choices, recovery
from offcourse.analysis.results import (
    Folder,
    icl_path,
    items_by_shots,
    model_path,
    read_accuracy,
    read_shots,
    sweep_path,
)
from offcourse.analysis.sources import listed, source
from offcourse.analysis.view import ResultsView
from offcourse.figures import style
from offcourse.study.labels import task_label

# `value` is the number written in the cell, missing for a blank cell.
NUMBERS = pa.DataFrameSchema(
    {
        "model": pa.Column(str),
        "task": pa.Column(str),
        "value": pa.Column(float, nullable=True),
        "peak_recovery": pa.Column(float, nullable=True),
        "sources": pa.Column(str),
    },
    strict=True,
    ordered=True,
)
Choice = Literal["n_heads", "strength", "layer"]
# The part of the best setting that each figure shows.
FIGURES: dict[str, Choice] = {"figure13": "n_heads", "figure14": "strength", "figure15": "layer"}
COLUMN = {"n_heads": "n_heads", "strength": "strength", "layer": "layer_percent"}
TITLE = {
    "n_heads": "Number of heads with the highest peak recovery",
    "strength": "Strength with the highest peak recovery",
    "layer": "Layer with the highest peak recovery",
}
SCALE = {"n_heads": "number of heads", "strength": "strength", "layer": "layer (% of depth, from 0)"}


def numbers(results: Folder, models: list[str], tasks: list[str], what: str) -> pd.DataFrame:
    """The chosen value for every model and task, see `NUMBERS` and `choices.best`."""
    best = choices.best(results, models, tasks).rename(columns={COLUMN[what]: "value"})
    best["sources"] = [_sources(results, row.model, row.task, COLUMN[what]) for row in best.itertuples()]
    return best[list(NUMBERS.columns)]


def _sources(results: Folder, model: str, task: str, measure: str) -> str:
    shots, _ = recovery.baseline(read_shots(results, model, task))
    items = items_by_shots(results, icl_path(model, task)).loc[shots]
    tried = int(read_accuracy(results, model, task)["n"].sum())
    return listed(
        source("sweep", sweep_path(model, task), {}, tried, measure),
        source("few_shot", icl_path(model, task), {"shots": shots}, items),
        source("layers", model_path(model), {}, 1, "layers"),
    )


def page(view: ResultsView, shown: style.Shown) -> style.Page:
    """A cell per model and task. Heads and strengths are coloured by rank in the study's grid, layers by depth."""
    what, (models, tasks) = FIGURES[shown["figure"]], view.scope("function_vectors")
    drawn, labels = numbers(view, models, tasks, what), view.model_labels(models)
    cells = drawn.pivot(index="model", columns="task", values="value").loc[models, tasks].to_numpy()
    grid = None if what == "layer" else _grid(view, models, tasks, what)
    size = (max(5.2, 2.6 + 0.56 * len(tasks)), max(2.9, 1.7 + max(0.22, 0.36 - 0.01 * len(models)) * len(models)))

    def compose(canvas: FigureBase) -> None:
        panel = canvas.subplots()
        colours, norm = _colours(grid)
        image = panel.pcolormesh(np.ma.masked_invalid(cells), cmap=colours, norm=norm, edgecolor="white", linewidth=1)
        _write(panel, cells, lambda value: colours(norm(value)), ".0f" if grid is None else "g")
        panel.grid(False)
        panel.set(xlim=(0, len(tasks)), ylim=(len(models), 0))
        slanted = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        panel.set_xticks(np.arange(len(tasks)) + 0.5, map(task_label, tasks), **slanted, fontsize=8)
        panel.set_yticks(np.arange(len(models)) + 0.5, labels, fontsize=8)
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
        share = min(1, 12 / len(models))
        bar = canvas.colorbar(image, ax=panel, label=SCALE[what], pad=0.02, aspect=14, shrink=share)
        bar.outline.set_visible(False)
        if grid is not None:
            bar.set_ticks(_middles(norm.boundaries), labels=[f"{value:g}" for value in grid])
        bar.minorticks_off()
        bar.ax.tick_params(length=0)
        blank = f"\n(– : at most {choices.LEAST_RECOVERY:.0%} recovered)" if np.isnan(cells).any() else ""
        canvas.suptitle(TITLE[what] + blank)

    return style.Page(size, drawn, NUMBERS, compose)


def _grid(results: Folder, models: list[str], tasks: list[str], what: str) -> list[float]:
    return sorted({value for model in models for task in tasks for value in read_accuracy(results, model, task)[what]})


def _colours(grid: list[float] | None) -> tuple:
    if grid is None:
        return style.SHADES, Normalize(0, 100)
    edges = [grid[0] - 1, *(_middles(grid)), grid[-1] + 1]
    return ListedColormap(style.SHADES(np.linspace(0.15, 0.9, len(grid)))), BoundaryNorm(edges, len(grid))


def _middles(edges) -> np.ndarray:
    edges = np.asarray(edges, dtype=float)
    return (edges[:-1] + edges[1:]) / 2


def _write(panel: Axes, cells: np.ndarray, colour_of: Callable[[float], tuple], form: str) -> None:
    """Write the number into each cell, dark on light or light on dark; a blank cell is hatched and has a dash."""
    for (row, column), value in np.ndenumerate(cells):
        if np.isnan(value):
            panel.add_patch(
                Rectangle((column, row), 1, 1, facecolor=style.BLANK, edgecolor="white", linewidth=1, hatch="////")
            )
            text, colour = "–", "#333333"
        else:
            text, colour = format(value, form), style.ink_on(colour_of(value))
        panel.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=colour, fontsize=8)
