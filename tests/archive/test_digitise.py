"""The reader of a page's content stream against the one of pypdf, which is slower."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pypdf
import pytest
from matplotlib.figure import Figure

from offcourse.archive.digitise import Line, Text, drawing
from offcourse.archive.paths import APATHY_PAGE, CIE_PAGES, LENS_PAGES, MEANS, PAGES

PAINTED = (b"f", b"S", b"B", b"W")


def by_pypdf(page) -> tuple[list[tuple], list[str]]:
    """Painted paths as (operator, vertices), and texts."""
    paths, texts, path, text = [], [], [], ""
    for operands, operator in page.get_contents().operations:
        if operator in (b"m", b"l"):
            path.append(tuple(map(float, operands)))
        elif operator in (*PAINTED, b"n"):
            if path and operator != b"n":
                paths.append((operator.decode(), path))
            path = []
        elif operator == b"BT":
            text = ""
        elif operator == b"Tj":
            text += as_text(operands[0])
        elif operator == b"TJ":
            text += "".join(
                as_text(part) if isinstance(part, str | bytes) else " " * (part < -200) for part in operands[0]
            )
        elif operator == b"ET" and text:
            texts.append(text)
    return paths, texts


def as_text(part) -> str:
    return part.original_bytes.decode("latin1")


def compare(pdf: bytes) -> None:
    page = pypdf.PdfReader(io.BytesIO(pdf)).pages[0]
    paths, texts = by_pypdf(page)
    found = drawing(page.get_contents().get_data())
    lines = [item for item in found if isinstance(item, Line)]
    assert len(lines) > 10 and [line.operator for line in lines] == [operator for operator, _ in paths]
    for line, (_, points) in zip(lines, paths, strict=True):
        assert np.array_equal(line.points, np.array(points))
    assert [item.text for item in found if isinstance(item, Text)] == texts


def test_a_page_of_matplotlib_has_the_paths_and_texts_that_pypdf_finds():
    with plt.rc_context({"pdf.fonttype": 42}):
        figure = Figure()
        for axes, title in zip(figure.subplots(1, 3), ("one (half)", "two", "th\\ree"), strict=True):
            axes.plot([1, 2, 3, 5], [0.5, 0.25, 1, 0], label="line")
            axes.fill_between([1, 2, 3], [0, 1, 0], [1, 2, 2])
            axes.set_title(title)
            axes.legend()
        file = io.BytesIO()
        figure.savefig(file, format="pdf")
    compare(file.getvalue())


@pytest.mark.parametrize("folder", [PAGES, f"{LENS_PAGES}/", CIE_PAGES, MEANS, APATHY_PAGE])
def test_pages_of_the_release_have_the_paths_and_texts_that_pypdf_finds(release, folder):
    names = sorted(name for name in release.manifest if name.startswith(folder) and name.endswith(".pdf"))
    compare(release.read(names[len(names) // 2]))
