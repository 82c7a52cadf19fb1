"""A page with a panel per model and lines against layer, shared by the logit lens and apathy."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pandera.pandas as pa
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from offcourse.figures import style


def page(
    models: Sequence[str],
    labels: Sequence[str],
    numbers: pd.DataFrame,
    schema: pa.DataFrameSchema,
    lines: Mapping[str, tuple[str, Mapping[str, Any]]],
    height: str,
    axes: tuple[str, str],
    said: str,
) -> style.Page:
    """A page with two panels in a row.

    labels: names of the models. lines: {value of the column `line`: (name in the legend, look)}.
    height: the column that is drawn, with `ci_low` to `ci_high` as its interval. axes: labels of the two axes.
    said: the note below the panels.
    """
    columns = min(2, len(models))
    rows = -(-len(models) // columns)

    def compose(canvas: FigureBase) -> None:
        panels = canvas.subplots(rows, columns, squeeze=False, sharey=True)
        for panel, model, label in zip(panels.flat, models, labels, strict=False):
            mine = numbers[numbers["model"] == model]
            for line, (_, look) in lines.items():
                style.line(panel, mine[mine["line"] == line].sort_values("layer"), "layer", height, **look)
            panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
            panel.set(title=label, ylim=ends, xlim=(0, mine["layer"].max()))
        for panel in list(panels.flat)[len(models) :]:
            panel.set_visible(False)
        for panel in panels.flat[max(0, len(models) - columns) : len(models)]:
            panel.set_xlabel(axes[0])
        canvas.supylabel(axes[1])
        style.note(canvas, said)
        handles = [panels[0, 0].plot([], [], **look)[0] for _, look in lines.values()]
        canvas.legend(handles, [name for name, _ in lines.values()], loc="outside upper center", ncols=len(lines))

    # A band may end beyond what its mean can be; it is drawn whole.
    drawn = numbers[["ci_low", "ci_high"]]
    ends = min(-0.03, drawn["ci_low"].min() - 0.02), max(1.03, drawn["ci_high"].max() + 0.02)
    return style.Page((max(4.8, 3.1 * columns + 0.4), 2.1 * rows + 1.05), numbers, schema, compose)
