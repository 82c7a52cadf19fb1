"""What is written in a picture, and whether its parts are apart."""

import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def texts(figure: Figure) -> set[str]:
    return {text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))}


def assert_tidy(figure: Figure) -> None:
    """Title, axis labels, legend and panels with their labels are apart, on the page, and large enough to read.

    No text is below 6 points on a page that is set 7 inches wide.
    """
    renderer = FigureCanvasAgg(figure).get_renderer()
    levels = [figure, *figure.findobj(SubFigure)]
    parts = [*figure.axes, *(part for level in levels for part in (*level.texts, *level.legends))]
    parts = [part for part in parts if part.get_visible()]
    boxes = [part.get_tightbbox(renderer) for part in parts]
    for (one, box), (other, near) in itertools.combinations(zip(parts, boxes, strict=True), 2):
        over = Bbox.intersection(box, near)
        assert over is None or min(over.width, over.height) < 1, (one, other)
    small = min(1.0, 7 / figure.get_size_inches()[0])
    for text in figure.findobj(Text):
        assert not (text.get_visible() and text.get_text()) or text.get_fontsize() * small >= 6, text
    whole = Bbox.union(boxes)
    assert (whole.min >= -1).all()
    assert (whole.max <= figure.bbox.max + 1).all()
