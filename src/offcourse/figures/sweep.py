"""Accuracy against layer for every number of heads and strength, one page per model and task (Figures 4 and 17)."""

import textwrap
from typing import Any

import pandas as pd
import pandera.pandas as pa
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from offcourse.analysis import recovery
from offcourse.analysis.results import (
    Folder,
    controls_path,
    icl_path,
    read_accuracy,
    read_control_accuracy,
    read_shots,
    sweep_path,
)
from offcourse.analysis.sources import listed, source
from offcourse.analysis.view import ResultsView
from offcourse.figures import by_layer, style
from offcourse.schemas.function_vectors import NULL_CONTROLS, READ_POSITION
from offcourse.study.labels import task_label

AXES = ("n_heads", "strength", "layer")
# `control` is "" for the function vector, else a control of `methods.fv_controls`. `draw` numbers the draws of a random
# control.
NUMBERS = by_layer.schema(
    control=pa.Column(str), draw=pa.Column(int), n_heads=pa.Column(int), strength=pa.Column(float)
)


def numbers(results: Folder, model: str, task: str, controls: bool = False) -> pd.DataFrame:
    """The drawn numbers of one model and task, of schema `NUMBERS`. controls: whether the study has controls."""
    shots = read_shots(results, model, task)
    lines, entries = by_layer.without_vector(results, icl_path(model, task), shots, recovery.baseline(shots)[0])
    frame = read_accuracy(results, model, task).assign(control="", draw=0)
    if controls:
        frame = pd.concat([frame, read_control_accuracy(results, model, task)], ignore_index=True)
    sources = [listed(source("accuracy", *_swept(model, task, row), row.n), *entries) for row in frame.itertuples()]
    return frame.assign(**lines, sources=sources)[list(NUMBERS.columns)]


def _swept(model: str, task: str, row) -> tuple[str, dict]:
    """(artefact of a vertex, {column: value} that selects its rows)."""
    where = {axis: getattr(row, axis) for axis in AXES}
    if not row.control:
        return sweep_path(model, task), where
    return controls_path(model, task), {"control": row.control, "draw": row.draw, **where}


def best(drawn: pd.DataFrame) -> str:
    """A sentence with the largest accuracy in the whole grid, for the function vector and for each control.

    For a control with several draws the number is the mean over draws of the largest accuracy in the draw's grid.
    """
    largest = drawn.groupby(["control", "draw"], sort=False)["accuracy"].max().groupby("control", sort=False).mean()
    names = [f"{NAMES.get(control, control.replace('_', ' '))} {value:.2f}" for control, value in largest.items()]
    return f"best of the grid: {', '.join(names)}"


def flat(drawn: pd.DataFrame) -> str:
    """A sentence about a page on which no setting leaves the 95% interval of 0-shot accuracy; "" for any other page."""
    own = drawn[drawn["control"] == ""]
    if (own["accuracy"] > own["zero_high"]).any() or (own["accuracy"] < own["zero_low"]).any():
        return ""
    settings = len(own[["n_heads", "strength"]].drop_duplicates())
    return (
        f"flat: none of {settings} settings leaves the 95% interval of 0-shot accuracy at any layer; largest "
        f"{own['accuracy'].max():.2f}, {own['shots'].iloc[0]}-shot {own['few_shot'].iloc[0]:.2f}"
    )


def page(view: ResultsView, shown: style.Shown) -> style.Page:
    """A grid of panels: a column per number of heads, a row per strength. A setting that was not run says so.

    With controls, a panel also has thin grey lines for vectors that should do nothing and a dashed line for the
    function vector read at the other position, and the page ends with the best accuracy in the grid for each. A page on
    which nothing happens (see `flat`) is one panel that says so.
    """
    model, task = shown["model"], shown["task"]
    drawn = numbers(view, model, task, bool(view.setting("function_vectors.controls")))
    return composed(drawn, f"{view.cell('models', 'label', model)}: {task_label(task)}")


def composed(drawn: pd.DataFrame, title: str) -> style.Page:
    """The page of some numbers, of schema `NUMBERS`."""
    return _flat_page(drawn, title) if flat(drawn) else _grid(drawn, title)


def _flat_page(drawn: pd.DataFrame, title: str) -> style.Page:
    """One panel with the lines of all settings."""
    lines = _lines(drawn)

    def compose(canvas: FigureBase) -> None:
        panel = canvas.subplots()
        by_layer.panel(panel, drawn)
        for _, setting in drawn.groupby(["strength", "n_heads"]):
            _settings_lines(panel, setting)
        panel.set(
            xlabel="layer that the function vector is added at", ylabel=f"accuracy\n(share of {drawn['n'].max()} items)"
        )
        canvas.suptitle(title)
        canvas.legend(*by_layer.legend(panel, lines, drawn), loc="outside lower center", ncols=2, handlelength=2.2)
        panel.set_title(textwrap.fill(flat(drawn), 68), fontsize=style.NOTE)

    return style.Page((5.2, 2.6 + 0.17 * (len(lines) > 1)), drawn, NUMBERS, compose)


def _lines(drawn: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """{name in the legend: look} of the lines that differ by layer."""
    seen = set(drawn["control"])
    lines = {"function vector, 0-shot": FV}
    lines |= {"controls": CONTROL} if seen & set(NULL_CONTROLS) else {}
    return lines | ({NAMES[READ_POSITION]: OTHER} if READ_POSITION in seen else {})


def _grid(drawn: pd.DataFrame, title: str) -> style.Page:
    """A panel per number of heads and strength."""
    heads, strengths = sorted(drawn["n_heads"].unique()), sorted(drawn["strength"].unique())
    items, seen = int(drawn["n"].max()), set(drawn["control"]) - {""}
    size, margins, said = _margins(len(strengths), len(heads), best(drawn) if seen else "")

    def compose(canvas: FigureBase) -> None:
        width, height = size
        canvas.subplots_adjust(**margins, wspace=0.1, hspace=0.12)
        axes = canvas.subplots(len(strengths), len(heads), sharex=True, sharey=True, squeeze=False)
        panels = dict(list(drawn.groupby(["strength", "n_heads"])))
        for row, strength in zip(axes, strengths, strict=True):
            for panel, n_heads in zip(row, heads, strict=True):
                _panel(panel, drawn, panels.get((strength, n_heads)))
            row[-1].set_ylabel(f"strength {strength:g}", rotation=270, labelpad=11)
            row[-1].yaxis.set_label_position("right")
        for panel, n_heads in zip(axes[0], heads, strict=True):
            panel.set_title(f"{n_heads} heads")
        canvas.suptitle(title, y=1 - 0.08 / height)
        canvas.supxlabel("layer that the function vector is added at", y=0.05 / height)
        canvas.supylabel(f"accuracy (share of {items} items)", x=0.05 / width)
        if said:
            canvas.text(0.5, 1 - 0.67 / height, said, ha="center", va="top", fontsize=style.NOTE)
        handles, names = by_layer.legend(axes[0][0], _lines(drawn), drawn)
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, 1 - 0.24 / height), "borderaxespad": 0.3}
        canvas.legend(handles, names, **place, ncols=-(-len(names) // 2), handlelength=2.2, columnspacing=1.2)

    return style.Page(size, drawn, NUMBERS, compose, tight=False)


FV = {"color": style.BLUE}
CONTROL = {"color": "#8C8C8C", "linewidth": 0.7}
OTHER = {"color": "#56B4E9", "linewidth": 1.1, "linestyle": (0, (3, 1.5))}
NAMES = {"": "function vector", READ_POSITION: "other read position"}


def _margins(rows: int, columns: int, said: str) -> tuple[tuple[float, float], dict[str, float], str]:
    """(size of a page of equal panels, its margins, `said` wrapped to the page's width).

    The margins are computed here, since automatic layout takes seconds for 56 panels. said: text below the legend.
    """
    # With controls the legend has more entries and needs more width.
    width = max(5.4 if said else 4.4, min(1.95, 6.9 / columns) * columns)
    height, left, right, bottom = min(1.45, 9.4 / rows) * rows, 0.55, 0.3, 0.5
    # About 17 letters of this size fit into an inch.
    said = textwrap.fill(said, int(17 * (left + width + right)))
    top = 0.92 + (0.18 + 0.13 * said.count("\n") if said else 0)
    size = left + width + right, bottom + height + top
    edges = {"left": left / size[0], "right": 1 - right / size[0], "bottom": bottom / size[1]}
    return size, edges | {"top": 1 - top / size[1]}, said


def _panel(panel: Axes, drawn: pd.DataFrame, setting: pd.DataFrame | None) -> None:
    by_layer.panel(panel, drawn)
    if setting is None:
        panel.text(0.5, 0.5, "not run", transform=panel.transAxes, ha="center", va="center", color=style.GREY)
        return
    _settings_lines(panel, setting)


def _settings_lines(panel: Axes, setting: pd.DataFrame) -> None:
    for (control, _), mine in setting[setting["control"] != ""].groupby(["control", "draw"], sort=False):
        style.line(panel, mine, "layer", "accuracy", **(OTHER if control == READ_POSITION else CONTROL))
    own = setting[setting["control"] == ""]
    style.line(panel, own, "layer", "accuracy", **FV, marker="o" if len(own) < 8 else None, markersize=3)
