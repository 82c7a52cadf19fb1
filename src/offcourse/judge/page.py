"""The card as one page of HTML, in the style of the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from offcourse import report
from offcourse.files import write_whole
from offcourse.judge.card import NOTES, edits, facts, title

FOLDERS = (Path(__file__).parent, Path(report.__file__).parent)


def page(card: Mapping[str, Any]) -> str:
    """The page of a card."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDERS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    said = {"title": title(card["judged"]), "edits": edits(card["judged"]), "facts": facts, "notes": NOTES}
    return environment.get_template("card.html.j2").render(**card, **said)


def write(card: Mapping[str, Any], path: Path) -> None:
    """Write the page, whole or not at all."""
    text = page(card)
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
