"""The number of heads, the strength and the layer that recover most, models by tasks (Figures 13 to 15)."""

from typing import Literal

import numpy as np
import pandas as pd
import pandera.pandas as pa
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

# `value` is the number written in the cell, missing for a blank cell; `tied` is how many values reach the largest
# accuracy, of which `value` is the smallest, and `n` the number of items behind an accuracy.
NUMBERS = pa.DataFrameSchema(
    {
        "model": pa.Column(str),
        "task": pa.Column(str),
        "value": pa.Column(float, nullable=True),
        "peak_recovery": pa.Column(float, nullable=True),
        "tied": pa.Column(int, pa.Check.ge(0)),
        "n": pa.Column(int, pa.Check.gt(0)),
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
WORD = {"n_heads": "the number", "strength": "the strength", "layer": "the layer"}
TIE = "*"
SCALE = {"n_heads": "number of heads", "strength": "strength", "layer": "layer (% of depth, from 0)"}


def numbers(results: Folder, models: list[str], tasks: list[str], what: str) -> pd.DataFrame:
    """The chosen value for every model and task, see `NUMBERS` and `choices.best`. what: a `Choice`."""
    best = choices.best(results, models, tasks).rename(columns={COLUMN[what]: "value", f"{what}_tied": "tied"})
    best["n"] = [int(read_accuracy(results, row.model, row.task)["n"].max()) for row in best.itertuples()]
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
    cells, ties = (
        drawn.pivot(index="model", columns="task", values=name).loc[models, tasks].to_numpy()
        for name in ("value", "tied")
    )
    grid = None if what == "layer" else _grid(view, models, tasks, what)
    size = (max(5.2, 2.6 + 0.5 * len(tasks)), max(3.1, 1.9 + max(0.22, 0.36 - 0.01 * len(models)) * len(models)))

    def compose(canvas: FigureBase) -> None:
        panel = canvas.subplots()
        colours, norm = _colours(grid)
        image = style.heat_map(panel, cells, colours, norm, _texts(cells, ties, ".0f" if grid is None else "g"), 8)
        for row, column in np.argwhere(np.isnan(cells)):
            panel.add_patch(Rectangle((column, row), 1, 1, facecolor=style.BLANK, edgecolor="white", hatch="////"))
        slanted = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        panel.set_xticks(np.arange(len(tasks)) + 0.5, map(task_label, tasks), **slanted, fontsize=8)
        panel.set_yticks(np.arange(len(models)) + 0.5, labels, fontsize=8, rotation=0)
        share = min(1, 12 / len(models))
        bar = canvas.colorbar(image, ax=panel, label=SCALE[what], pad=0.02, aspect=14, shrink=share)
        bar.outline.set_visible(False)
        if grid is not None:
            bar.set_ticks(_middles(norm.boundaries), labels=[f"{value:g}" for value in grid])
        bar.minorticks_off()
        bar.ax.tick_params(length=0)
        canvas.suptitle(TITLE[what])
        said = f"every accuracy from {style.span(drawn['n'])} items"
        said += f"; – at most {choices.LEAST_RECOVERY:.0%} recovered" if np.isnan(cells).any() else ""
        said += f"\n{TIE} a tie: {WORD[what]} is the least of several that reach as much" if (ties > 1).any() else ""
        style.note(canvas, said)

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


def _texts(cells: np.ndarray, ties: np.ndarray, form: str) -> np.ndarray:
    """What is written in each cell: its number, marked where it is one of several; a dash in a blank cell."""
    pairs = zip(cells.flat, ties.flat, strict=True)
    texts = ["–" if np.isnan(value) else f"{value:{form}}{TIE if tied > 1 else ''}" for value, tied in pairs]
    return np.array(texts, dtype=object).reshape(cells.shape)
