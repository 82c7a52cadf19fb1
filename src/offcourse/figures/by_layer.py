"""Shared code of figures of accuracy against layer: the numbers of a line, and a page with a panel per task."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import pandera.pandas as pa
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from offcourse.analysis.results import Folder, items_by_shots
from offcourse.analysis.sources import source
from offcourse.analysis.truthfulness import wilson_of
from offcourse.figures import style
from offcourse.study.labels import task_label

COLUMNS = 3
# The interval of accuracy without a vector and without examples. `CHANCE_NAME` is its name in the legend.
CHANCE = {"color": style.GREY, "alpha": style.BAND, "linewidth": 0}
CHANCE_NAME = "95% interval of 0-shot"


def schema(**own: pa.Column) -> pa.DataFrameSchema:
    """The schema of a figure's numbers: a row per vertex of its lines. own: the figure's own columns, which come first.

    `accuracy` is over `n` items. `few_shot` is the accuracy without a vector and with `shots` examples, `zero_shot` the
    accuracy without a vector and without examples; both are horizontal lines. `zero_low` to `zero_high` is Wilson's 95%
    interval of `zero_shot` over its items: a single accuracy inside may be chance.
    """
    share = pa.Check.in_range(0, 1)
    columns = own | {
        "layer": pa.Column(int),
        "accuracy": pa.Column(float, share),
        "n": pa.Column(int, pa.Check.gt(0)),
        "zero_shot": pa.Column(float, share),
        "zero_low": pa.Column(float, share),
        "zero_high": pa.Column(float, share),
        "few_shot": pa.Column(float, share),
        "shots": pa.Column(int),
        "sources": pa.Column(str),
    }
    return pa.DataFrameSchema(columns, strict=True, ordered=True)


def without_vector(
    results: Folder, path: str, shots: pd.Series, count: int
) -> tuple[dict[str, float | int], list[dict[str, Any]]]:
    """(the columns of one pair from `zero_shot` to `shots`, their entries of `sources`).

    shots: accuracy by number of shots. count: number of shots of `few_shot`. path: of the baselines.
    """
    items = items_by_shots(results, path)
    low, high = wilson_of(float(shots.loc[0]), int(items.loc[0]))
    zero = {"zero_shot": float(shots.loc[0]), "zero_low": low, "zero_high": high}
    columns = zero | {"few_shot": float(shots.loc[count]), "shots": count}
    entries = [source(role, path, {"shots": k}, items.loc[k]) for role, k in (("zero_shot", 0), ("few_shot", count))]
    return columns, entries


def panel(axes: Axes, drawn: pd.DataFrame, x: str = "layer") -> None:
    """Draw the horizontal lines and the band of one panel, and set its axes and ticks.

    x: the column along the axis: `layer`, or another one, whose few values are the ticks.
    """
    axes.axhspan(drawn["zero_low"].iloc[0], drawn["zero_high"].iloc[0], **CHANCE)
    axes.axhline(drawn["few_shot"].iloc[0], **style.FEW_SHOT)
    axes.axhline(drawn["zero_shot"].iloc[0], **style.ZERO_SHOT)
    axes.set(ylim=(-0.04, 1.04), yticks=[0, 0.5, 1])
    axes.set_yticklabels(["0", "0.5", "1"])
    if x == "layer":
        last = drawn[x].max()
        axes.set_xlim(-0.02 * last - 0.2, 1.02 * last + 0.2)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=2))
        return
    places = sorted(drawn[x].unique())
    edge = 0.1 * (places[-1] - places[0]) or 1
    axes.set_xlim(places[0] - edge, places[-1] + edge)
    axes.set_xticks(places, [f"{place:g}" for place in places])


def names_without_vector(numbers: pd.DataFrame) -> list[str]:
    """Names of the two horizontal lines in the legend, in the order few-shot, zero-shot.

    A name gives the number of items if it differs from that of `accuracy`, which the axis gives.
    """
    known = pd.DataFrame([entry for entries in numbers["sources"].unique() for entry in json.loads(entries)])
    counts = known.groupby("role")["n"].agg(set)
    names = []
    for role, shots in (("few_shot", style.either(numbers["shots"])), ("zero_shot", 0)):
        other = counts[role] != set(numbers["n"])
        names.append(f"no vector, {shots}-shot" + (f" ({style.either(counts[role])} items)" if other else ""))
    return names


def legend(axes: Axes, lines: Mapping[str, Mapping[str, Any]], numbers: pd.DataFrame) -> tuple[list[Artist], list[str]]:
    """(handles, names) of `lines`, of the two horizontal lines and of the band."""
    looks = [*lines.values(), style.FEW_SHOT, style.ZERO_SHOT]
    handles = [*(axes.plot([], [], **look)[0] for look in looks), Patch(**CHANCE)]
    return handles, [*lines, *names_without_vector(numbers), CHANCE_NAME]


def page(
    numbers: pd.DataFrame,
    numbers_schema: pa.DataFrameSchema,
    tasks: Sequence[str],
    title: str,
    axis: str,
    lines: Mapping[str, Mapping[str, Any]],
    put: Callable[[Axes, pd.DataFrame], None],
    x: str = "layer",
) -> style.Page:
    """A page with a panel per task.

    axis: label of the layers, or of the column `x`, see `panel`. lines: {name in the legend: look}. put: draws the
    lines into a panel.
    """
    # As square as possible: four tasks are two rows of two, the paper's nine tasks three rows of three.
    columns = min(COLUMNS, math.isqrt(len(tasks) - 1) + 1)
    rows = -(-len(tasks) // columns)

    def compose(canvas: FigureBase) -> None:
        panels = canvas.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, task in zip(panels.flat, tasks, strict=False):
            mine = numbers[numbers["task"] == task]
            panel(axes, mine, x)
            put(axes, mine)
            axes.set_title(task_label(task))
        for axes in list(panels.flat)[len(tasks) :]:
            axes.set_visible(False)
        canvas.suptitle(title)
        # matplotlib keeps labels of panels clear of a legend below them, but not a label of the whole figure.
        for axes in panels.flat[max(0, len(tasks) - columns) : len(tasks)]:
            axes.set_xlabel(axis)
            axes.tick_params(labelbottom=True)
        canvas.supylabel(f"accuracy (share of {style.either(numbers['n'])} items)")
        canvas.legend(*legend(panels[0, 0], lines, numbers), loc="outside lower center", ncols=across, handlelength=2.2)

    names = [*lines, *names_without_vector(numbers), CHANCE_NAME]
    width = max(4.8, 2.3 * columns + 0.5)
    # In the legend a name takes an inch for about 14 letters.
    across = 3 if 3 * max(map(len, names)) <= 14 * width else 2
    height = 1.7 * rows + 0.85 + 0.17 * -(-len(names) // across)
    return style.Page((width, height), numbers, numbers_schema, compose)
