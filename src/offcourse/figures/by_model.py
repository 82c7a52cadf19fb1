"""A page with a panel per model and lines against layer, shared by the logit lens and apathy."""

from collections.abc import Mapping, Sequence

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
    lines: Mapping[str, tuple[str, str]],
    height: str,
    axes: tuple[str, str],
) -> style.Page:
    """A page with two panels in a row.

    labels: names of the models. lines: {value of the column `line`: (name in the legend, colour)}.
    height: the column that is drawn, with `ci_low` to `ci_high` as its interval if there are such columns. axes: labels
    of the two axes; number and set of the questions are added to the label of the layers.
    """
    columns = min(2, len(models))
    rows = -(-len(models) // columns)

    def compose(canvas: FigureBase) -> None:
        panels = canvas.subplots(rows, columns, squeeze=False, sharey=True)
        for panel, model, label in zip(panels.flat, models, labels, strict=False):
            mine = numbers[numbers["model"] == model]
            for line, (name, colour) in lines.items():
                points = mine[mine["line"] == line].sort_values("layer")
                if "ci_low" in points:
                    band = points["layer"], points["ci_low"], points["ci_high"]
                    panel.fill_between(*band, color=colour, alpha=0.2, lw=0)
                panel.plot(points["layer"], points[height], color=colour, label=name)
            panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
            panel.set(title=label, ylim=(-0.03, 1.03), xlim=(0, mine["layer"].max()))
        for panel in list(panels.flat)[len(models) :]:
            panel.set_visible(False)
        canvas.supxlabel(f"{axes[0]} over {numbers['n'].max()} questions of {numbers['questions'].iloc[0]}")
        canvas.supylabel(axes[1])
        handles, names = panels[0, 0].get_legend_handles_labels()
        canvas.legend(handles, names, loc="outside upper center", ncols=len(lines))

    return style.Page((max(4.8, 3.1 * columns + 0.4), 2.1 * rows + 1.05), numbers, schema, compose)
