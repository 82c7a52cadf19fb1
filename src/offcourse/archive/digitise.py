"""Reading function-vector sweeps from the authors' vector figures (`param_search_appendix`, Figure 17).

A page is a grid of axes: a column per number of heads, a row per strength, and in each line one vertex per layer. The
axes have no labelled values except 0 and 1 in the last column, so the scale must be inferred, in three steps:

* Accuracies are counts over the evaluated words, so every value is k/items for a whole number k.
* matplotlib sets the limits of an axes from its data: 5 % of the data's range below and above, and then as far as the
  ticks 0 and 1. A guess of the smallest and the largest count therefore predicts the height of every vertex, and only
  guesses that agree with the drawing remain.
* 0-shot and 5-shot accuracy are the same in every axes of a page. This leaves one guess, or a few that differ by a
  common shift.
"""

import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pypdf

from offcourse.archive.paths import OTHER_PACKAGES
from offcourse.errors import OffcourseError

SWEEP, ZERO, FIVE = "0-shot with Function Vector", "0-shot", "5-shot"
MARGIN = 0.05  # matplotlib's axes.ymargin
# The PDF gives coordinates to 1e-6 points, and an axes is at least 44 points high.
TOLERANCE = 1e-6
GRID = 1e-4  # largest distance of an accuracy from k/items

# The vertices of a path together ("x y m x y l ..."), which are nearly all that a page has; a text; another word.
_VERTEX = rb"[-.\d]+ [-.\d]+ [ml](?![^\s()\[\]])"
_TOKEN = re.compile(rb"%b(?:\s+%b)*|\((?:\\.|[^\\()])*\)|[\[\]]|[^\s()\[\]]+" % (_VERTEX, _VERTEX), re.DOTALL)
_ESCAPED = re.compile(rb"\\([()\\])")
_WORD_SPACE = -200  # a TJ operator moves the pen at least so far between words, in thousandths of the type size


@dataclass(frozen=True)
class Line:
    """A path: vertices [vertices, 2] in points, colours of stroke and filling, and the PDF operator that draws it."""

    points: np.ndarray
    colour: tuple[str, ...]
    operator: str
    closed: bool
    filling: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    """A text. x, y: where the text begins, in points."""

    x: float
    y: float
    text: str


@dataclass
class Panel:
    """One axes. box: x0, y0, x1, y1 in points.

    lines: {label: heights of the vertices}, 0 at the bottom of the box and 1 at its top. ticks: {value: height}.
    """

    box: tuple[float, float, float, float]
    n_heads: int = 0
    strength: float = 0.0
    lines: dict[str, np.ndarray] = field(default_factory=dict)
    ticks: dict[float, float] = field(default_factory=dict)

    def height(self, y):
        """Heights (0 at the bottom of the box, 1 at its top) of ordinates in points."""
        return (y - self.box[1]) / (self.box[3] - self.box[1])


def drawing(content: bytes) -> list[Line | Text]:
    """Paths and texts of a page's content stream, in drawing order."""
    # pypdf's ContentStream finds the same operators (a test compares them) but takes several times as long.
    found: list[Line | Text] = []
    stack: list[bytes] = []
    colours, colour, filling = [], ("0",), ("0",)
    path, closed = [], False
    place, pieces = None, []
    for token in _TOKEN.findall(content):
        first = token[:1]
        if first in b"0123456789-." and token[-1:] in b"ml":
            numbers = token.split()
            path += zip(map(float, numbers[::3]), map(float, numbers[1::3]), strict=True)
            stack = []
            continue
        if first in b"0123456789-.(/[]":
            stack.append(token)
            continue
        if token == b"h":
            closed = True
        elif token in (b"f", b"S", b"B", b"n", b"W"):
            if path and token != b"n":
                found.append(Line(np.array(path), colour, token.decode(), closed, filling))
            path, closed = [], False
        elif token in (b"RG", b"G"):
            colour = tuple(part.decode() for part in stack)
        elif token in (b"rg", b"g"):
            filling = tuple(part.decode() for part in stack)
        elif token == b"q":
            colours.append((colour, filling))
        elif token == b"Q" and colours:
            colour, filling = colours.pop()
        elif token == b"BT":
            place, pieces = None, []
        elif token == b"Td" and place is None:
            place = (float(stack[-2]), float(stack[-1]))
        elif token == b"Tm":
            place = place or (float(stack[-2]), float(stack[-1]))
        elif token in (b"Tj", b"TJ"):
            pieces.append(_joined(stack))
        elif token == b"ET" and place and pieces:
            found.append(Text(*place, "".join(pieces)))
        stack = []
    return found


def _joined(stack: Sequence[bytes]) -> str:
    text = ""
    for token in stack:
        if token[:1] == b"(":
            text += _ESCAPED.sub(rb"\1", token[1:-1]).decode("latin1")
        elif token not in (b"[", b"]") and float(token) < _WORD_SPACE:
            text += " "
    return text


def read_panels(pdf: bytes, name: str) -> list[Panel]:
    """The axes of a page, row by row.

    Raises `OffcourseError` naming the page if it is no grid of axes with a title for each column and row, or if a line
    is not in the legend.
    """
    items, width = first_page(pdf, name)
    legend = legend_of(items)
    panels: list[Panel] = []
    tick = None
    for item in items:
        if isinstance(item, Text):
            if tick is not None and re.fullmatch(r"[01]", item.text):
                panels[-1].ticks[float(item.text)] = tick
            tick = None
            continue
        points = item.points
        if begins_axes(item, width):
            panels.append(Panel((*points[0], *points[2])))
        elif panels and item.operator == "B" and len(points) == 2 and points[0, 1] == points[1, 1]:
            tick = panels[-1].height(points[0, 1])
        elif panels and item.operator == "S" and len(points) > 3:
            label = legend.get(item.colour)
            if label is None or label in panels[-1].lines:
                raise OffcourseError(f"{name}: a line of panel {len(panels)} is not in the legend, or twice in it")
            panels[-1].lines[label] = panels[-1].height(points[:, 1])
    _title(panels, [item for item in items if isinstance(item, Text)], name)
    return panels


def begins_axes(item: Line | Text, width: float) -> bool:
    """Whether an item is the white rectangle that begins an axes. width: of the page in points."""
    filled = isinstance(item, Line) and item.operator == "f" and item.closed and len(item.points) == 4
    return filled and np.ptp(item.points[:, 0]) < width / 1.05


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn pypdf's error for a damaged file into an `OffcourseError` that names the file."""
    try:
        yield
    except (pypdf.errors.PyPdfError, AttributeError, IndexError, KeyError, ValueError) as error:
        raise OffcourseError(f"{name} cannot be read as a PDF page ({error}). {OTHER_PACKAGES}") from error


def first_page(pdf: bytes, name: str) -> tuple[list[Line | Text], float]:
    """(paths and texts of the first page, its width in points)."""
    with reading(name):
        page = pypdf.PdfReader(io.BytesIO(pdf)).pages[0]
        return drawing(page.get_contents().get_data()), float(page.mediabox.width)


def legend_of(items: Sequence[Line | Text]) -> dict[tuple[str, ...], str]:
    """{colour: label}. A line of a legend has three vertices, and its label is the text drawn next."""
    legend, colour = {}, None
    for item in items:
        if isinstance(item, Line) and item.operator == "S" and len(item.points) == 3:
            colour = item.colour
        elif isinstance(item, Text) and colour:
            legend[colour], colour = item.text, None
    return legend


def _title(panels: list[Panel], texts: Sequence[Text], name: str) -> None:
    """Set each panel's number of heads and strength from the titles above the columns and beside the rows."""
    left = sorted({panel.box[0] for panel in panels})
    bottom = sorted({panel.box[1] for panel in panels}, reverse=True)
    grid = [(y, x) for y in bottom for x in left]
    numbers = [text for text in texts if re.fullmatch(r"\d+(\.\d+)?", text.text)]
    top = max((panel.box[3] for panel in panels), default=0)
    heads = sorted((text for text in numbers if text.y > top), key=lambda text: text.x)
    strengths = sorted((text for text in numbers if text.x < min(left, default=0) - 5), key=lambda text: -text.y)
    strengths = [text for text in strengths if text.y >= min(bottom, default=0)]
    if not panels or [(p.box[1], p.box[0]) for p in panels] != grid:
        raise OffcourseError(f"{name}: {len(panels)} panels, which are no full grid of {len(bottom)} x {len(left)}")
    if (len(heads), len(strengths)) != (len(left), len(bottom)):
        raise OffcourseError(
            f"{name}: {len(panels)} panels in {len(bottom)} rows and {len(left)} columns, but titles of "
            f"{len(strengths)} strengths and {len(heads)} head counts. It is not the page that was expected."
        )
    for index, panel in enumerate(panels):
        row, column = divmod(index, len(left))
        panel.n_heads, panel.strength = int(heads[column].text), float(strengths[row].text)


@dataclass(frozen=True)
class DigitisedPage:
    """The sweeps of one page, as counts out of `items` words.

    panels: panels with a sweep, row by row. missing: panels without a sweep. hits: {(0-shot count, 5-shot count):
    counts [layers] of each of `panels`}, for every pair of counts that agrees with the drawing; one pair if the page is
    certain.
    """

    items: int
    panels: list[Panel]
    missing: list[Panel]
    hits: Mapping[tuple[int, int], list[np.ndarray]]


def read_page(pdf: bytes, items: int, layers: int | None, name: str) -> DigitisedPage:
    """Read a page whose accuracies are over `items` words. layers: number of the model's layers (None: the page's).

    Raises `OffcourseError` naming page and panel for a page of another shape (see `read_panels`), a line that does not
    have a vertex per layer, 0-shot or 5-shot lines that are not level, or values off the grid of counts.
    """
    panels = read_panels(pdf, name)
    drawn = [panel for panel in panels if panel.lines]
    if not drawn:
        raise OffcourseError(f"{name} has no lines in any of its {len(panels)} panels")
    layers = layers or len(next(iter(drawn[0].lines.values())))
    found = []
    for panel in drawn:
        where = f"{name}, {panel.n_heads} heads, strength {panel.strength:g}"
        if missing := {SWEEP, ZERO, FIVE} - panel.lines.keys():
            raise OffcourseError(f"{where}: there is no line of {', '.join(sorted(missing))}")
        if wrong := {len(line) for line in panel.lines.values()} - {layers}:
            raise OffcourseError(f"{where}: a line has {min(wrong)} vertices, the model has {layers} layers")
        if any(np.ptp(panel.lines[label]) > TOLERANCE for label in (ZERO, FIVE)):
            raise OffcourseError(f"{where}: the line of 0-shot or 5-shot accuracy is not level")
        found.append(counts(panel, items))
        if not found[-1]:
            raise OffcourseError(
                f"{where}: no scale puts the accuracies within {GRID} of whole numbers of {items} words. The page is "
                "not what it was taken for."
            )
    common = set.intersection(*map(set, found))
    if not common:
        raise OffcourseError(f"{name}: the panels do not agree on 0-shot and 5-shot accuracy")
    hits = {pair: [each[pair] for each in found] for pair in sorted(common)}
    return DigitisedPage(items, drawn, [panel for panel in panels if not panel.lines], hits)


def counts(panel: Panel, items: int) -> dict[tuple[int, int], np.ndarray]:
    """{(0-shot count, 5-shot count): counts of the sweep [layers]}, for every pair that agrees with the panel."""
    heights = np.concatenate(list(panel.lines.values()))
    bottom, top, lowest, highest = _scales(items)
    fits = np.abs(lowest - heights.min()) < TOLERANCE
    fits &= np.abs(highest - heights.max()) < TOLERANCE
    for value, height in panel.ticks.items():
        fits &= np.abs((value - bottom) / (top - bottom) - height) < TOLERANCE
    agreed = {}
    for start, end in zip(bottom[fits], top[fits], strict=True):
        accuracy = {label: start + line * (end - start) for label, line in panel.lines.items()}
        nearest = {label: np.rint(values * items).astype(int) for label, values in accuracy.items()}
        if max(np.abs(accuracy[label] - nearest[label] / items).max() for label in accuracy) < GRID:
            agreed[int(nearest[ZERO][0]), int(nearest[FIVE][0])] = nearest[SWEEP]
    return agreed


@cache
def _scales(items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The limits of an axes (bottom, top) for every smallest and largest count, and the heights of these counts."""
    low, high = np.triu_indices(items + 1, 1)
    margin = MARGIN * (high - low) / items
    bottom = np.minimum(0, low / items - margin)
    top = np.maximum(1, high / items + margin)
    return bottom, top, (low / items - bottom) / (top - bottom), (high / items - bottom) / (top - bottom)


def read_means(pdf: bytes, name: str) -> dict[str, dict[str, float]]:
    """{label of a model: {label of a line: mean accuracy over the model's tasks}}, from the page of Figure 11.

    Raises `OffcourseError` for a page whose labels of models, or whose ticks, do not match its lines.
    """
    items, _ = first_page(pdf, name)
    legend = legend_of(items)
    lines = [item for item in items if isinstance(item, Line) and item.operator == "S" and len(item.points) > 3]
    texts = [item for item in items if isinstance(item, Text)]
    ticks = [
        (item.points[0, 1], after.text.replace(":", "."))
        for item, after in itertools.pairwise(items)
        if isinstance(item, Line) and item.operator == "B" and isinstance(after, Text)
    ]
    ticks = [(y, float(text)) for y, text in ticks if re.fullmatch(r"[01]\.\d", text)]
    labels = [text.text for text in texts[: len(lines[0].points)]] if lines else []
    known = {line.colour for line in lines} <= legend.keys()
    if len(lines) < 2 or len(ticks) < 2 or not known or {len(line.points) for line in lines} != {len(set(labels))}:
        raise OffcourseError(f"{name} is not the page of accuracies by number of shots that was expected")
    (y0, v0), (y1, v1) = ticks[0], ticks[-1]
    means: dict[str, dict[str, float]] = {label: {} for label in labels}
    for line in lines:
        for label, y in zip(labels, line.points[:, 1], strict=True):
            means[label][legend[line.colour]] = v0 + (y - y0) / (y1 - y0) * (v1 - v0)
    return means
