"""Reading causal indirect effects of attention heads from the authors' heat maps (Figures 9 and 10).

A page has a panel per task, and after the last panel this panel's colour bar. Every panel is coloured from its own
smallest to its own largest mean effect, in one set of 256 shades. So a head's shade gives its place between the
smallest and the largest effect of the panel, to 1/256. In the last panel, the scale of the colour bar also gives the
effect.
"""

import io
import itertools
import re
from collections.abc import Collection

import numpy as np
import pandas as pd
import pypdf

from offcourse.archive.digitise import Line, Text, begins_axes, drawing, reading
from offcourse.errors import OffcourseError

TRIALS = 25  # prompts behind a mean, in the released code
TOLERANCE = 1e-4  # largest distance of a tick from a common scale, as a share of the bar's height
_TICK = re.compile(r"\x00?\d:\d+")  # TeX's minus is character 0 of its font, its decimal point a colon


def read_cie_page(pdf: bytes, layers: int, heads: int, tasks: Collection[str], name: str) -> dict[str, pd.DataFrame]:
    """{title of a panel, one of `tasks`: its heads, a table of schema `CIE_SHADES`}.

    Raises `OffcourseError` naming page and panel for a page without a colour bar with a scale, and for a panel with
    another title, without a cell for each head, or whose colours do not span the bar from end to end.
    """
    with reading(name):
        page = pypdf.PdfReader(io.BytesIO(pdf)).pages[0]
        items, width = drawing(page.get_contents().get_data()), float(page.mediabox.width)
        pictures = [np.asarray(each.image.convert("RGB")) for each in page.images]
    if len(pictures) != 1:
        raise OffcourseError(f"{name} has {len(pictures)} pictures, expected the one of the colour bar")
    place, panels = _bar(pictures[0], name), _panels(items, width)
    if len(panels) < 2 or any(not cells for _, cells, _ in panels[:-1]) or panels[-1][1]:
        raise OffcourseError(f"{name} has {len(panels)} axes, expected a heat map per task and then their colour bar")
    low, high = _ends(panels[-1][0], panels[-1][2], name)
    found = {}
    for at, (box, cells, rest) in enumerate(panels[:-1], start=1):
        titles = [each.text for each in rest if isinstance(each, Text) and each.text in tasks]
        where = f"{name}, panel {at} of {len(panels) - 1}"
        if len(titles) != 1 or titles[0] in found:
            raise OffcourseError(f"{where}: its title is none of the tasks, or there twice")
        shades = _shades(box, cells, layers, heads, place, where)
        effects = low + shades * (high - low) if at == len(panels) - 1 else np.full(shades.shape, np.nan)
        layer, head = np.indices(shades.shape)
        columns = {"layer": layer, "head": head, "shade": shades, "effect": effects}
        found[titles[0]] = pd.DataFrame({key: values.ravel() for key, values in columns.items()}).assign(trials=TRIALS)
    return found


def _bar(picture: np.ndarray, name: str) -> dict[tuple[int, ...], float]:
    """{RGB colour: place on the bar}, 0 at the bottom and 1 at the top: the middle of the colour's pixel rows."""
    rows = [tuple(int(part) for part in row) for row in picture[:, 0]]
    starts = [at for at, row in enumerate(rows) if not at or rows[at - 1] != row]
    if len(set(rows)) != len(starts) or len(starts) < 200:
        raise OffcourseError(f"{name}: its picture is no colour bar, which has each of its shades once")
    ends = [*starts[1:], len(rows)]
    middles = {rows[start]: 1 - (start + end) / 2 / len(rows) for start, end in zip(starts, ends, strict=True)}
    # A panel's smallest and largest head have the outermost shades, which stand for the very ends of the bar.
    return middles | {rows[0]: 1.0, rows[-1]: 0.0}


def _panels(items: list[Line | Text], width: float) -> list[tuple[np.ndarray, list[Line], list[Line | Text]]]:
    """(box, coloured cells, other items) of each axes of the page; a white rectangle begins an axes."""
    panels: list[tuple[np.ndarray, list[Line], list[Line | Text]]] = []
    for item in items:
        if begins_axes(item, width):
            panels.append((item.points[[0, 2]], [], []))
        elif panels:
            cell = isinstance(item, Line) and item.operator == "f" and len(item.points) == 5
            panels[-1][1 if cell else 2].append(item)
    return panels


def _shades(
    box: np.ndarray, cells: list[Line], layers: int, heads: int, place: dict[tuple[int, ...], float], where: str
) -> np.ndarray:
    """The heads' places on the bar, [layers, heads]; layers go from left to right, heads from top to bottom."""
    found = np.full((layers, heads), np.nan)
    size = np.ptp(box, axis=0) / (layers, heads)
    for cell in cells:
        left, top = cell.points[:, 0].min(), cell.points[:, 1].max()
        at = (left - box[0, 0]) / size[0], (box[1, 1] - top) / size[1]
        layer, head = (round(each) for each in at)
        shade = place.get(tuple(round(255 * float(part)) for part in cell.filling))
        if max(abs(at[0] - layer), abs(at[1] - head)) > 0.01 or layer >= layers or head >= heads or shade is None:
            raise OffcourseError(f"{where}: a cell is not one of {layers} layers x {heads} heads in a shade of the bar")
        found[layer, head] = shade
    if len(cells) != found.size or np.isnan(found).any():
        raise OffcourseError(f"{where}: {len(cells)} cells, expected one for each of {layers} layers x {heads} heads")
    if (found.min(), found.max()) != (0.0, 1.0):
        raise OffcourseError(f"{where}: its cells do not go from one end of the colour bar to the other")
    return found


def _ends(box: np.ndarray, items: list[Line | Text], name: str) -> tuple[float, float]:
    """The values at the bottom and at the top of the bar."""
    ticks = [
        (line.points[0, 1], float(label.text.replace("\x00", "-").replace(":", ".")))
        for line, label in itertools.pairwise(items)
        if isinstance(line, Line) and isinstance(label, Text) and _TICK.fullmatch(label.text)
    ]
    if len(ticks) < 2:
        raise OffcourseError(f"{name}: its colour bar has {len(ticks)} labelled ticks, so nothing says its scale")
    (y0, v0), (y1, v1) = ticks[0], ticks[-1]
    step = (v1 - v0) / (y1 - y0)
    if any(abs(v0 + step * (y - y0) - value) > TOLERANCE * step * np.ptp(box[:, 1]) for y, value in ticks):
        raise OffcourseError(f"{name}: the {len(ticks)} ticks of its colour bar are not on one scale")
    return v0 + step * (box[0, 1] - y0), v0 + step * (box[1, 1] - y0)
