"""The figures of the report: the choice of the pages that are shown, and their pictures within a budget of bytes."""

import base64
import os
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from offcourse.analysis.view import ResultsView
from offcourse.errors import OffcourseError
from offcourse.figures import sweep
from offcourse.schemas.io import read_parquet

SUFFIXES = ("parquet", "svg", "png")
# Points of a picture that are shown as wide as one letter height (rem) of the page.
POINTS = 8.5
# Bytes of pictures inside the page, as base64 text. The page should stay below 8 MB for every study.
BUDGET = 6_500_000


def figures(
    results: ResultsView, pages: Sequence[Mapping[str, Any]], out: Path, budget: int = BUDGET
) -> list[dict[str, Any]]:
    """The figures with their pictures, up to `budget` bytes; further pages are linked.

    Each figure gets an equal share of the budget. Bytes that small figures do not need go to larger figures.
    """
    found = [_figure(results, list(group), out) for _, group in groupby(pages, key=lambda page: page["figure"])]
    left, waiting = budget, len(found)
    for figure in sorted(found, key=lambda figure: sum(len(page["picture"]) for page in figure["shown"])):
        share, kept = left // waiting, []
        for page in figure["shown"]:
            if len(page["picture"]) <= share:
                kept.append(page)
                share, left = share - len(page["picture"]), left - len(page["picture"])
            else:
                figure["linked"].append({name: value for name, value in page.items() if name != "picture"})
        figure["shown"] = kept
        waiting -= 1
    return found


def _figure(results: ResultsView, pages: list[Mapping[str, Any]], out: Path) -> dict[str, Any]:
    """One figure, with its `shown` pages as pictures and its `linked` pages as addresses."""
    shown, linked = (_choose_sweeps(results, pages)) if pages[0]["figure"] == "figure17" else (pages, [])
    return {
        "id": pages[0]["figure"],
        "title": pages[0]["title"],
        "explanation": pages[0]["explanation"],
        "shown": [
            {
                **page,
                "picture": _picture(results, page),
                "width": _width(results, page),
                "links": links(results, page, out),
            }
            for page in shown
        ],
        "linked": [{**page, "links": links(results, page, out)} for page in linked],
    }


def _choose_sweeps(results: ResultsView, pages: list[Mapping[str, Any]]) -> tuple[list, list]:
    """(pages of each model's best and worst recovered task, all other pages).

    A page on which no setting does anything is no picture, but a line of the index that says so (`flat`).
    """
    shown, linked = [], []
    for _, group in groupby(pages, key=lambda page: page["model"]):
        ranked = sorted(
            ({**page, **_of_sweep(results, page)} for page in group),
            key=lambda page: -1.0 if pd.isna(page["recovery"]) else page["recovery"],
            reverse=True,
        )
        ends = [page for page in ranked[:1] + ranked[1:][-1:] if not page["flat"]]
        ranks = ["best" if page is ranked[0] else "worst" for page in ends]
        shown += [{**page, "rank": rank} for page, rank in zip(ends, ranks, strict=True)]
        linked += [page for page in ranked if page not in ends]
    return shown, linked


def _of_sweep(results: ResultsView, page: Mapping[str, Any]) -> dict[str, Any]:
    """`recovery`, the peak recovery (Eq. 7), and `flat` (`sweep.flat`), from the numbers that the page draws."""
    drawn = read_parquet((results / page["svg"]).with_suffix(".parquet"), sweep.NUMBERS)
    flat, drawn = sweep.flat(drawn), drawn[drawn["control"] == ""]
    few_shot = drawn["few_shot"].iloc[0]
    return {"recovery": drawn["accuracy"].max() / few_shot if few_shot > 0 else float("nan"), "flat": flat}


def _picture(results: ResultsView, page: Mapping[str, Any]) -> str:
    """The smaller of SVG and PNG as a data URL. As an image of its own, an SVG cannot clash with another's ids."""
    svg = results / page["svg"]
    png = svg.with_suffix(".png")
    try:
        path, kind = min((svg, "svg+xml"), (png, "png"), key=lambda choice: choice[0].stat().st_size)
        return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
    except OSError as error:
        raise OffcourseError(f"the report needs {svg} and {png}: {error.strerror}. Run the workflow again.") from error


def _width(results: ResultsView, page: Mapping[str, Any]) -> float:
    """The largest shown width of a picture, in letter heights (rem), so that letters have one size in all pictures."""
    with (results / page["svg"]).open(encoding="utf-8") as file:
        found = re.search(r'<svg [^>]*?\bwidth="([\d.]+)pt"', file.read(4096))
    if not found:
        raise OffcourseError(
            f"{results / page['svg']} is no picture of this workflow. Delete it and run the workflow again."
        )
    return round(float(found[1]) / POINTS, 1)


def links(results: ResultsView, page: Mapping[str, Any], out: Path) -> dict[str, str]:
    """The addresses of a picture's files."""
    return {suffix: link((results / page["svg"]).with_suffix(f".{suffix}"), out) for suffix in SUFFIXES}


def link(path: Path, out: Path) -> str:
    """The address of a file in a page at `out`."""
    return Path(os.path.relpath(path, out.parent)).as_posix()
