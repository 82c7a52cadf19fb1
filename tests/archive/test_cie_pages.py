"""Causal effects read back from heat maps: the order of heads, one scale, and what is refused."""

import numpy as np
import pytest
from edited_page import edited

from offcourse.archive import cie_pages, paths
from offcourse.errors import OffcourseError
from offcourse.graph.release import CIE_TASKS
from offcourse.schemas.released import CIE_SHADES

PAGE = paths.cie_path("gptj-6b")


@pytest.fixture(scope="module")
def page(release):
    return release.read(PAGE)


@pytest.fixture(scope="module")
def found(page):
    return cie_pages.read_cie_page(page, 28, 16, CIE_TASKS, PAGE)


def test_every_head_of_every_task_has_a_shade(found):
    assert tuple(found) == CIE_TASKS
    for task, frame in found.items():
        CIE_SHADES.validate(frame)
        assert len(frame[["layer", "head"]].drop_duplicates()) == 28 * 16
        assert (frame["shade"].min(), frame["shade"].max()) == (0.0, 1.0)
        assert frame["effect"].isna().all() == (task != CIE_TASKS[-1])


def test_most_heads_do_nothing_on_the_one_scale_that_there_is(found):
    """The bar's direction and its ticks were read right: most heads have an effect near 0, and few a large one."""
    effect = found[CIE_TASKS[-1]]["effect"].to_numpy()
    step = np.ptp(effect) / 256
    assert abs(np.median(effect)) < step
    assert effect.max() == pytest.approx(0.1239, abs=5e-4) and effect.min() == pytest.approx(-0.0217, abs=5e-4)


def test_heads_that_matter_matter_for_several_languages(found):
    """The same few heads come first in all translations, as the paper shows of GPT-J; a mixed-up grid would not."""
    first = [
        {tuple(row) for row in frame.nlargest(20, "shade")[["layer", "head"]].to_numpy()}
        for task, frame in found.items()
        if "english" in task
    ]
    assert len(set.intersection(*first)) >= 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.replace(b"(spanish-english) Tj", b"(spanish) Tj"), "panel 7 of 7: its title is none of the"),
        (lambda data: data.replace(b"51.205626 169.471045 m", b"51.9 169.471045 m\n52.1 169.471045 l", 1),
         "panel 1 of 7: 447 cells, expected one for each of 28 layers x 16 heads"),
        (lambda data: data.replace(b"0.9805997 0.96155216 0.95813083 rg", b"0.1 0.9 0.1 rg"), "in a shade of the bar"),
        (lambda data: data.replace(b"673.207298 81.227253 m", b"673.207298 80.227253 m"), "are not on one scale"),
        (lambda data: data.replace(b"(:) Tj", b"(;) Tj"), "has 0 labelled ticks"),
    ],
)  # fmt: skip
def test_a_page_of_another_shape_is_refused(page, change, message):
    with pytest.raises(OffcourseError, match=message):
        cie_pages.read_cie_page(edited(page, change), 28, 16, CIE_TASKS, PAGE)


def test_another_number_of_heads_is_refused(page):
    with pytest.raises(OffcourseError, match="a cell is not one of 28 layers x 12 heads"):
        cie_pages.read_cie_page(page, 28, 12, CIE_TASKS, PAGE)


def test_what_is_no_pdf_is_refused():
    with pytest.raises(OffcourseError, match="page cannot be read as a PDF page"):
        cie_pages.read_cie_page(b"not a page", 28, 16, CIE_TASKS, "page")
