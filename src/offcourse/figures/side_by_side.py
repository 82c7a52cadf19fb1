"""One figure drawn from two results folders on one page: the authors' release and a study."""

from collections.abc import Mapping

import pandas as pd
import pandera.pandas as pa
from matplotlib.figure import FigureBase

from offcourse.figures import style

HEADING = 0.3  # inches above each part


def together(parts: Mapping[str, style.Page]) -> style.Page:
    """One page with the pages of `parts` below each other, each under its name and as wide as it would be alone.

    parts: {name: page}, pages of one figure. The joined numbers have the name in a last column `store`.
    """
    pages = list(parts.values())
    columns = {"store": pa.Column(str, pa.Check.isin(list(parts)))}
    numbers = pd.concat([page.numbers.assign(store=name) for name, page in parts.items()], ignore_index=True)
    width = max(page.size[0] for page in pages)
    heights = [height for page in pages for height in (HEADING, page.size[1])]

    def compose(canvas: FigureBase) -> None:
        strips = canvas.subfigures(2 * len(pages), 1, height_ratios=heights)
        bodies = []
        for (name, page), heading, strip in zip(parts.items(), strips[::2], strips[1::2], strict=True):
            heading.text(0.01, 0.4, name, ha="left", va="center", fontsize=10, fontweight="bold")
            body = _at_left(strip, page.size[0] / width)
            page.compose(body)
            bodies.append(body)
        for axis in pages[0].common:
            _share(bodies, axis)

    tight = all(page.tight for page in pages)
    return style.Page((width, sum(heights)), numbers, pages[0].schema.add_columns(columns), compose, tight)


def _at_left(strip: FigureBase, share: float) -> FigureBase:
    """The left `share` of a strip."""
    return strip if share > 0.98 else strip.subfigures(1, 2, width_ratios=[share, 1 - share])[0]


def _share(bodies: list[FigureBase], axis: str) -> None:
    """Give corresponding panels equal limits on one axis. axis: "x" or "y"."""
    for panels in zip(*(body.axes for body in bodies), strict=False):
        limits = [getattr(panel, f"get_{axis}lim")() for panel in panels]
        ends = min(low for low, _ in limits), max(high for _, high in limits)
        for panel in panels:
            getattr(panel, f"set_{axis}lim")(ends)
