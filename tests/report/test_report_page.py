"""The report as a reader meets it: on a phone, on a screen, with a keyboard."""

import re
import unicodedata
from html import unescape

import pytest
from browser import needs_chromium, printed, visit

LAYOUT = """({
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  sticking_out: [...document.querySelectorAll('body *')].filter((each) => !each.closest('.wide, .skip, dialog')
    && each.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map((each) => each.outerHTML.slice(0, 90)),
  images: document.querySelectorAll('figure img').length,
  broken: [...document.querySelectorAll('figure img')].filter((each) => !(each.complete && each.naturalWidth)).length,
})"""  # noqa: E501
CONTRAST = """(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => { const [r, g, b] = parts(colour).slice(0, 3).map((each) => each / 255)
    .map((each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (each) => { while (each) { const colour = getComputedStyle(each).backgroundColor;
    if ((parts(colour)[3] ?? 1) > 0) return colour; each = each.parentElement; } return 'rgb(255, 255, 255)'; };
  const texts = [...document.querySelectorAll('body *')].filter((each) => each.tagName !== 'SCRIPT'
    && [...each.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()));
  const ratio = (each) => { const [a, b] = [light(getComputedStyle(each).color), light(behind(each))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05); };
  return { texts: texts.length, poor: texts.filter((each) => ratio(each) < 4.5).map((each) => each.outerHTML.slice(0, 90)) };
})()"""  # noqa: E501
KEYBOARD = """(() => {
  const table = document.querySelector('#steering table.filterable');
  const column = (index) => [...table.tBodies[0].rows].map((row) => row.cells[index].dataset.value);
  const head = table.tHead.rows[0].cells[5], seen = {};
  head.querySelector('button').click();
  seen.rising = [head.getAttribute('aria-sort'), column(5).map(Number)];
  head.querySelector('button').click();
  seen.falling = [head.getAttribute('aria-sort'), column(5).map(Number)];
  const input = document.querySelector('#steering .filter input');
  input.value = 'tiny antonym';
  input.dispatchEvent(new Event('input'));
  seen.left = [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.textContent);
  seen.said = document.querySelector('#steering .filter [role=status]').textContent;
  const first = document.querySelector('figure .enlarge'), dialog = document.querySelector('dialog');
  first.focus();
  seen.focused = document.activeElement === first;
  first.click();
  seen.open = dialog.open && dialog.querySelector('img').src === first.querySelector('img').src;
  const large = dialog.querySelector('img');
  seen.alt = large.alt;
  seen.larger = large.clientWidth / first.querySelector('img').clientWidth;
  seen.behind = getComputedStyle(document.documentElement).overflowY;
  dialog.scrollTo(0, 50);
  dialog.querySelector('button').click();
  seen.closed = !dialog.open && document.activeElement === first;
  first.click();
  seen.scrolled = dialog.scrollTop;
  return seen;
})()"""
LABELS = """({
  unnamed: [...document.querySelectorAll('[role=region], nav, dialog')].filter((each) => !each.getAttribute('aria-label')).length,
  headings: [...document.querySelectorAll('h1, h2, h3')].map((each) => Number(each.tagName[1])),
  lost: [...document.querySelectorAll('th')].filter((each) => !each.scope || !each.textContent.trim()).length,
  inputs: [...document.querySelectorAll('input')].filter((each) => !each.labels.length).length,
  scrolled: [...document.querySelectorAll('.wide')].filter((each) => each.tabIndex !== 0).length,
})"""  # noqa: E501

pytestmark = needs_chromium


@pytest.mark.parametrize("width", [380, 1400])
def test_nothing_overflows_every_picture_loads_and_the_console_is_silent(page, tmp_path, width):
    found, errors = visit(page[0], LAYOUT, width, tmp_path)
    assert errors == []
    assert found == {"overflow": 0, "sticking_out": [], "images": 2 * 2 + 1, "broken": 0}


def test_a_page_with_faults_does_not_pass(page, tmp_path):
    """What the test above looks for is seen where it is."""
    faulty = tmp_path / "faulty.html"
    faults = "<p style='width:2000px'>wide</p><figure><img src='none.png'></figure><script>none()</script></main>"
    faulty.write_text(page[1].replace("</main>", faults), encoding="utf-8")
    found, errors = visit(faulty, LAYOUT, 380, tmp_path)
    assert found["overflow"] > 300 and found["sticking_out"] and found["broken"] == 1
    assert "none is not defined" in " ".join(errors)


def test_on_paper_everything_is_there_and_nothing_is_cut_off(page, tmp_path):
    """What is folded on a screen is open, and every word begins between the margins."""
    sheets, words = printed(page[0], tmp_path).pages, []
    for sheet in sheets:
        width = float(sheet.mediabox.width)
        sheet.extract_text(
            visitor_text=lambda text, outer, inner, font, size, width=width: words.append(
                (text, (inner[4] * outer[0] + outer[4]) / width)
            )
        )
    # Print has ligatures, as in "differ", which NFKC takes apart.
    text = " ".join(unicodedata.normalize("NFKC", "".join(text for text, _ in words)).split())
    headings = [re.sub("<.*?>", "", each) for each in re.findall("<h2>(.*?)</h2>", page[1])]
    assert len(headings) > 6
    for heading in headings:
        assert " ".join(unescape(heading).split()) in text
    assert "The other 2 pages" in text and "Tiny 0.1b: " in text
    assert "Only rows with" not in text and "Close (Esc)" not in text
    assert [word for word in words if word[0].strip() and not 0 < word[1] < 0.95] == []


def test_every_text_has_contrast(page, tmp_path):
    found, _ = visit(page[0], CONTRAST, 1400, tmp_path)
    assert found["texts"] > 200
    assert found["poor"] == []


def test_tables_sort_and_filter_and_figures_enlarge(page, tmp_path):
    found, errors = visit(page[0], KEYBOARD, 1400, tmp_path)
    assert errors == []
    for name, falling in (("rising", False), ("falling", True)):
        order, values = found[name]
        assert order == ("descending" if falling else "ascending")
        assert values == sorted(values, reverse=falling) and len(set(values)) > 3
    assert len(found["left"]) == 1 and "Tiny 0.1b" in found["left"][0] and "Antonym" in found["left"][0]
    assert found["said"] == "1 of 6 rows"
    assert found["focused"] and found["open"] and found["closed"]
    assert found["larger"] > 1.2 and found["behind"] == "hidden" and found["scrolled"] == 0
    assert len(found["alt"]) > 20


def test_a_screen_reader_finds_its_way(page, tmp_path):
    found, _ = visit(page[0], LABELS, 1400, tmp_path)
    headings = found.pop("headings")
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(headings, headings[1:], strict=False))
    assert found == {"unnamed": 0, "lost": 0, "inputs": 0, "scrolled": 0}
