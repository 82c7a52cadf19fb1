"""The look of all figures: one theme of seaborn, and files that equal numbers always give equal bytes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pandera.pandas as pa
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure, FigureBase

from offcourse.files import write_whole
from offcourse.layout import beside
from offcourse.schemas.io import write_parquet

mpl.use("Agg")

# Colours are distinct under the common forms of colour blindness and at least 3 to 1 on white. A colour means one thing
# in a figure: blue is what the figure is about, orange few-shot, grey 0-shot; the logit lens has three of its own.
BLUE, _, GREEN, ORANGE = sns.color_palette("colorblind").as_hex()[:4]
PURPLE, INK, GREY = "#AA4499", "#333333", "#767676"
SHADES = sns.color_palette("YlGnBu", as_cmap=True)  # sequential
DIVERGING = sns.color_palette("RdBu_r", as_cmap=True)  # white at 0
BLANK = "#ECECEC"

# Looks of the lines of accuracy without a vector.
FEW_SHOT = {"color": ORANGE, "linestyle": (0, (5, 1.5)), "linewidth": 1.1}
ZERO_SHOT = {"color": GREY, "linestyle": (0, (1, 1.2)), "linewidth": 1.3}
# {line of the logit lens: (its name in the legend, its look)}.
LENS = {
    "top": ("likeliest token", {"color": INK}),
    "correct": ("right letter", {"color": GREEN}),
    "incorrect": ("likeliest wrong letter", {"color": PURPLE}),
}
BAND = 0.16  # opacity of an interval's band

FONT = "DejaVu Sans"  # comes with matplotlib, so every machine has it
# On top of seaborn's "whitegrid". No text is below 7 points, so that a page of 8 inches can be set 7 inches wide.
RC = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8.5,
    "figure.titlesize": 10,
    "figure.labelsize": 8.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.linewidth": 0.4,
    "grid.color": "#E3E3E3",
    "lines.linewidth": 1.3,
    "lines.markeredgewidth": 0,
    "xtick.bottom": True,
    "ytick.left": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "offcourse",
}
DPI = 200
NOTE = 7.5  # points of a note


# The entry of a picture in `graph.catalogue`; it has at least `figure`, `model`, `task` and `questions`.
Shown = Mapping[str, Any]


@contextmanager
def applied() -> Iterator[None]:
    """Set the project's theme inside the block, and restore the user's own settings afterwards."""
    with mpl.rc_context({**mpl.rcParamsDefault, "backend": "Agg"}):
        sns.set_theme(context="paper", style="whitegrid", palette="colorblind", font=FONT, rc=RC)
        yield


def line(axes: Axes, points: pd.DataFrame, x: str, y: str, **look: Any) -> None:
    """Draw `y` against `x` in the order of the rows, and the band from `ci_low` to `ci_high` if `points` has these."""
    if "ci_low" in points:
        axes.fill_between(points[x], points["ci_low"], points["ci_high"], color=look["color"], alpha=BAND, lw=0)
    # As seaborn's `lineplot` draws it, which takes twenty times as long: a missing point is left out.
    known = points[[x, y]].astype(float).dropna()
    axes.plot(known[x].to_numpy(), known[y].to_numpy(), **{"markeredgewidth": 0.75, "markeredgecolor": "w"} | look)


def heat_map(
    panel: Axes,
    cells: np.ndarray,
    colours: Colormap,
    norm: Normalize,
    texts: np.ndarray | None = None,
    points: float = 7,
) -> QuadMesh:
    """A heat map with the first row on top. A missing cell is grey.

    texts: what is written in each cell, black or white, whichever stands out more. points: size of the letters.
    """
    panel.set_facecolor(BLANK)
    look = {"cmap": colours, "norm": norm, "linewidths": 0.5 if texts is not None else 0, "linecolor": "white"}
    # The colours come from the norm; seaborn would look for the limits, and warn where every cell is missing.
    look |= {"vmin": norm.vmin, "vmax": norm.vmax}
    # Seaborn draws the whole figure to see whether labels overlap; the labels come later, so that this costs little.
    sns.heatmap(cells, mask=np.isnan(cells), cbar=False, xticklabels=False, yticklabels=False, ax=panel, **look)
    panel.grid(False)
    panel.tick_params(length=0)
    place = {"ha": "center", "va": "center", "fontsize": points}
    for (row, column), text in np.ndenumerate(texts if texts is not None else np.empty((0, 0))):
        value = cells[row, column]
        ink = INK if np.isnan(value) else ink_on(colours(norm(value)))
        panel.text(column + 0.5, row + 0.5, text, color=ink, **place)
    return panel.collections[0]


def note(canvas: FigureBase, text: str) -> None:
    """Write below the panels what an interval is of and over how many: the statistics, which are no axis label."""
    canvas.supxlabel(text, fontsize=NOTE, color=INK)


def span(counts: Iterable[int]) -> str:
    """`20`, or `12 to 40` where numbers differ."""
    known = sorted(set(counts))
    return " to ".join(map(str, dict.fromkeys((known[0], known[-1]))))


def either(counts: Iterable[int]) -> str:
    """`5`, or `5 or 10`: each number once, in order."""
    return " or ".join(map(str, sorted(set(counts))))


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
    """Draw a page in the project's theme and write its three files, see `save`."""
    with applied():
        figure = Figure(figsize=page.size, layout="constrained" if page.tight else None)
        page.compose(figure)
        save(figure, page.numbers, page.schema, stem)


def save(figure: Figure, numbers: pd.DataFrame, schema: pa.DataFrameSchema, stem: Path) -> None:
    """Write {stem}.svg and {stem}.png, and the drawn numbers (of `schema`) as {stem}.parquet."""
    if engine := figure.get_layout_engine():
        # Arrange the parts once instead of once per file, at the PNG's resolution. Letters are not twice as wide at
        # twice the resolution, so a long label would leave a page that was arranged at another resolution.
        figure.dpi = DPI
        engine.execute(figure)
        # No engine at all: with its placeholder "none", matplotlib draws each file twice and throws the first away.
        figure.set_layout_engine(None)
    # Leave date and version out of the files, so that they are the same at every run.
    svg = {"format": "svg", "metadata": {"Date": None, "Creator": None}}
    png = {"format": "png", "metadata": {"Software": None}, "dpi": DPI}
    write_whole(beside(stem, "svg"), lambda path: figure.savefig(path, **svg))
    write_whole(beside(stem, "png"), lambda path: figure.savefig(path, **png))
    write_parquet(beside(stem, "parquet"), numbers, schema)
