"""Reading mean lines of the logit lens and of apathy from the authors' vector figures (Figures 2, 6, 7 and 8).

Apathy measures how little a sub-layer moves the residual stream. A page of one model's lens has labelled ticks, which
must all lie on one scale. The page of apathy has ticks in its left column only. The authors' code scaled the means of
both sub-layers together to 0..1, so the lowest and the highest point of the two lines are 0 and 1 in every panel. Where
a panel has ticks, they must agree.
"""

import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from offcourse.archive.digitise import Line, Text, begins_axes, first_page, legend_of
from offcourse.errors import OffcourseError

LENS = {"Top": "top", "Correct": "correct", "Incorrect": "incorrect"}
APATHY = {"MHA": "mha", "MLP": "mlp", "Top": "top"}
# The PDF gives coordinates to 1e-6 points, a panel is at least 85 points high, and two ticks span half of the scale.
TOLERANCE = 1e-6
_TICK = re.compile(r"[01]:\d+")  # TeX's decimal point is a colon in its font


def read_lens_page(pdf: bytes, layers: int, questions: int, name: str) -> pd.DataFrame:
    """Mean probability by `layer` (0 to `layers`) and `line` with the drawn interval, of schema `LENS_MEANS`.

    questions: number of questions behind a mean. Raises `OffcourseError` naming the page for another number of panels,
    lines or vertices, for ticks that are not on one scale, and for a probability that is not between 0 and 1, lies
    outside its interval, or exceeds the probability of the most likely token.
    """
    items, width = first_page(pdf, name)
    panels = _panels(items, width)
    if len(panels) != 1:
        raise OffcourseError(f"{name} has {len(panels)} panels, expected the one of a model's logit lens")
    panel, legend = panels[0], legend_of(items)
    start, step = _scale(panel, name)
    _check_layers(panel, layers, name)
    parts = []
    for label, line in LENS.items():
        colour = next((colour for colour, text in legend.items() if text == label), None)
        strokes = [each.points for each in _strokes(panel) if each.colour == colour]
        bands = [each.points for each in panel if isinstance(each, Line) and each.closed and each.colour == colour]
        if [len(points) for points in (*strokes, *bands)] != [layers + 1, 2 * layers + 4]:
            raise OffcourseError(
                f"{name}: the line {label} and its interval do not have a vertex for each of 0..{layers}"
            )
        low, high = np.sort(_sides(bands[0]), axis=0)
        columns = {"mean": strokes[0][:, 1], "ci_low": low, "ci_high": high}
        frame = pd.DataFrame({key: start + step * values for key, values in columns.items()})
        frame = frame.assign(layer=range(layers + 1), line=line, n=questions)
        parts.append(frame[["layer", "line", "mean", "ci_low", "ci_high", "n"]])
    found = pd.concat(parts, ignore_index=True)
    _check_lens(found, name)
    return found


def _check_lens(found: pd.DataFrame, name: str) -> None:
    """Raise `OffcourseError` unless all are probabilities in their intervals, the most likely token's the largest."""
    slack = 2 * TOLERANCE
    inside = (found["ci_low"] - slack <= found["mean"]) & (found["mean"] <= found["ci_high"] + slack)
    by_line = found.pivot(index="layer", columns="line", values="mean")
    largest = (by_line[["correct", "incorrect"]].max(axis=1) <= by_line["top"] + slack).all()
    if not inside.all() or not largest or found["mean"].min() < -slack or found["mean"].max() > 1 + slack:
        raise OffcourseError(f"{name}: the lines are not mean probabilities. The page is not what it was taken for.")


def read_apathy_page(pdf: bytes, layers: Mapping[str, int], questions: int, name: str) -> dict[str, pd.DataFrame]:
    """{panel title (a model's label): scaled means by `layer` and `line`, of schema `APATHY_MEANS`}.

    layers: {label: number of layers}. Raises `OffcourseError` naming the page if there are not the ten panels of Figure
    8, for a title that is not in `layers`, and for lines unlike the description above.
    """
    items, width = first_page(pdf, name)
    panels, legend = _panels(items, width), legend_of(items)
    found = {}
    for panel in panels:
        title = next((each.text for each in panel if isinstance(each, Text) and each.text in layers), None)
        if title is None:
            said = [each.text for each in panel if isinstance(each, Text)]
            raise OffcourseError(f"{name}: no model is called like a panel that says {', '.join(said)}")
        where = f"{name}, {title}"
        strokes = _strokes(panel)
        lines = {legend.get(each.colour): each.points for each in strokes}
        expected = {"MHA": layers[title], "MLP": layers[title], "Top": layers[title] + 1}
        if len(strokes) != len(lines) or {label: len(points) for label, points in lines.items()} != expected:
            raise OffcourseError(f"{where}: expected lines MHA and MLP with a vertex per block, and Top with one more")
        means = np.concatenate([lines[label][:, 1] for label in ("MHA", "MLP")])
        step = 1 / np.ptp(means)
        start = -means.min() * step
        ticks = _ticks(panel)
        if any(abs(start + step * y - value) > 1e-4 for y, value in ticks):
            raise OffcourseError(f"{where}: its ticks do not say that its means go from 0 to 1")
        parts = [
            pd.DataFrame({"layer": range(len(points)), "line": APATHY[label], "scaled": start + step * points[:, 1]})
            for label, points in lines.items()
        ]
        found[title] = pd.concat(parts, ignore_index=True).assign(
            n=questions, calibration="ticks" if ticks else "range"
        )
    if len(found) != 10:
        raise OffcourseError(f"{name} has {len(panels)} panels of {len(found)} models, expected 10")
    return found


def check_top(apathy: pd.DataFrame, lens: pd.DataFrame, name: str) -> None:
    """Check that the line Top of a panel of apathy is the model's own line of the logit lens, scaled.

    Raises `OffcourseError` when no scaling turns one line into the other: the panel then shows another model.
    """
    drawn, known = (
        frame.loc[frame["line"] == "top", column].to_numpy() for frame, column in ((apathy, "scaled"), (lens, "mean"))
    )
    alike = len(drawn) == len(known)
    if not alike or np.abs(np.polynomial.Polynomial.fit(known, drawn, 1)(known) - drawn).max() > TOLERANCE:
        raise OffcourseError(f"{name}: its line Top is not that of the model's logit lens")


def _panels(items: Sequence[Line | Text], width: float) -> list[list[Line | Text]]:
    """The items of each axes: everything drawn after the axes' white rectangle."""
    panels: list[list[Line | Text]] = []
    for item in items:
        if begins_axes(item, width):
            panels.append([])
        elif panels:
            panels[-1].append(item)
    return panels


def _strokes(panel: Sequence[Line | Text]) -> list[Line]:
    """The lines of data. A line of the legend has three vertices and a line of the frame two, so both are left out."""
    return [each for each in panel if isinstance(each, Line) and each.operator == "S" and len(each.points) > 3]


def _ticks(panel: Sequence[Line | Text]) -> list[tuple[float, float]]:
    """(ordinate, value) of the labelled ticks of the vertical axis."""
    return [
        (line.points[0, 1], float(label.text.replace(":", ".")))
        for line, label in itertools.pairwise(panel)
        if isinstance(line, Line)
        and isinstance(label, Text)
        and line.operator == "B"
        and line.points[0, 1] == line.points[-1, 1]
        and _TICK.fullmatch(label.text)
    ]


def _scale(panel: Sequence[Line | Text], name: str) -> tuple[float, float]:
    """(start, step): a value is start + step * ordinate."""
    ticks = _ticks(panel)
    if len(ticks) < 2:
        raise OffcourseError(f"{name} has {len(ticks)} labelled ticks, so nothing says what its lines stand for")
    (y0, v0), (y1, v1) = ticks[0], ticks[-1]
    step = (v1 - v0) / (y1 - y0)
    start = v0 - step * y0
    if any(abs(start + step * y - value) > TOLERANCE for y, value in ticks):
        raise OffcourseError(f"{name}: its {len(ticks)} ticks are not on one scale")
    return start, step


def _check_layers(panel: Sequence[Line | Text], layers: int, name: str) -> None:
    """Raise `OffcourseError` unless every vertex is where the labelled ticks of the horizontal axis put its layer."""
    ticks = [
        (line.points[0, 0], int(label.text))
        for line, label in itertools.pairwise(panel)
        if isinstance(line, Line) and isinstance(label, Text) and line.operator == "B" and label.text.isdigit()
    ]
    for line in _strokes(panel):
        if len(line.points) != layers + 1:
            raise OffcourseError(f"{name}: a line has {len(line.points)} vertices, the model has {layers} layers")
        if len(ticks) < 2 or any(value > layers or abs(line.points[value, 0] - x) > 1e-4 for x, value in ticks):
            raise OffcourseError(f"{name}: its lines do not have a vertex at each layer")


def _sides(band: np.ndarray) -> np.ndarray:
    """The lower and upper side, [2, layers + 1], of an interval that was drawn as a filled area.

    matplotlib draws along one side and back along the other, with an extra corner at each end.
    """
    count = len(band) // 2 - 1
    return np.stack([band[1 : count + 1, 1], band[count + 2 :, 1][::-1]])
