"""The look of all figures, and writing them so that equal numbers always give equal bytes."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import pandera.pandas as pa
from matplotlib.figure import Figure, FigureBase

from offcourse.files import write_whole
from offcourse.layout import beside
from offcourse.schemas.io import write_parquet

mpl.use("Agg")

# Okabe and Ito's palette, distinct under the common forms of colour blindness.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#767676"
SHADES = mpl.colormaps["YlGnBu"]  # sequential
DIVERGING = "RdBu_r"  # white at 0
BLANK = "#ECECEC"

# Looks of the lines of accuracy without a vector.
FEW_SHOT = {"color": ORANGE, "linestyle": (0, (5, 1.5)), "linewidth": 1.1}
ZERO_SHOT = {"color": GREY, "linestyle": (0, (1, 1.2)), "linewidth": 1.3}

RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine has it
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8.5,
    "figure.titlesize": 10,
    "figure.labelsize": 8.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.linewidth": 0.4,
    "grid.color": "#E3E3E3",
    "lines.linewidth": 1.3,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "offcourse",
}
DPI = 200


# The entry of a picture in `graph.catalogue`; it has at least `figure`, `model`, `task` and `questions`.
Shown = Mapping[str, Any]


def applied() -> AbstractContextManager[None]:
    """Set the project's style inside the block, and restore the user's own settings afterwards."""
    return mpl.rc_context({**mpl.rcParamsDefault, **RC, "backend": "Agg"})


def ink_on(colour: tuple[float, ...]) -> str:
    """Black or white, whichever stands out more on an RGB colour."""
    luminance = _luminance(colour)
    # At this luminance both contrasts are 4.6 to 1, above the 4.5 that WCAG requires of small text.
    return "black" if luminance > 0.179 else "white"


def with_interval(value: float, low: float, high: float) -> str:
    """A number with its interval, two decimals each; nothing is printed as -0.00."""
    texts = [f"{number:.2f}".replace("-0.00", "0.00") for number in (value, low, high)]
    return "{} [{}, {}]".format(*texts).replace("-", "\N{MINUS SIGN}")


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Contrast of two RGB colours, from 1 to 21 (WCAG 2)."""
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: tuple[float, ...]) -> float:
    """Relative luminance of WCAG 2."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@dataclass(frozen=True)
class Page:
    """A picture that is not drawn yet. It can become a file of its own or one half of a side-by-side figure.

    size: width and height in inches. numbers: the drawn numbers, of schema `schema`. compose: draws the page on a
    figure of this size, or on a part of a figure. tight: whether matplotlib arranges the parts; if not, `compose` sets
    margins.
    common: axes ("x", "y") whose limits are shared between corresponding panels when the study and the release are
        drawn side by side.
    """

    size: tuple[float, float]
    numbers: pd.DataFrame
    schema: pa.DataFrameSchema
    compose: Callable[[FigureBase], None]
    tight: bool = True
    common: str = ""


def draw(page: Page, stem: Path) -> None:
    """Draw a page in the project's style and write its three files, see `save`."""
    with applied():
        figure = Figure(figsize=page.size, layout="constrained" if page.tight else None)
        page.compose(figure)
        save(figure, page.numbers, page.schema, stem)


def save(figure: Figure, numbers: pd.DataFrame, schema: pa.DataFrameSchema, stem: Path) -> None:
    """Write {stem}.svg and {stem}.png, and the drawn numbers (of `schema`) as {stem}.parquet."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)  # arrange the parts once instead of once per file
        figure.set_layout_engine("none")
    # Leave date and version out of the files, so that they are the same at every run.
    svg = {"format": "svg", "metadata": {"Date": None, "Creator": None}}
    png = {"format": "png", "metadata": {"Software": None}, "dpi": DPI}
    write_whole(beside(stem, "svg"), lambda path: figure.savefig(path, **svg))
    write_whole(beside(stem, "png"), lambda path: figure.savefig(path, **png))
    write_parquet(beside(stem, "parquet"), numbers, schema)
