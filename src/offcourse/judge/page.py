"""The card as one page of HTML, in the style of the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offcourse import report
from offcourse.files import write_whole
from offcourse.judge.card import NOTES, benefit_facts, edits, facts, notes_of_benefits, title
from offcourse.report.templates import environment_of

FOLDERS = (Path(__file__).parent, Path(report.__file__).parent)


def page(card: Mapping[str, Any]) -> str:
    """The page of a card."""
    said = {"title": title(card["judged"]), "edits": edits(card["judged"]), "facts": facts, "notes": NOTES}
    said |= {"benefit_facts": benefit_facts, "notes_of_benefits": notes_of_benefits(card)}
    return environment_of(*FOLDERS).get_template("card.html.j2").render(**card, **said)


def write(card: Mapping[str, Any], path: Path) -> None:
    """Write the page, whole or not at all."""
    text = page(card)
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
