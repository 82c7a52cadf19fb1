"""The report's rows of claims, and of the comparison with the printed numbers."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from offcourse.analysis.view import ResultsView
from offcourse.claims import verdicts
from offcourse.data.printed import NUMBERS
from offcourse.schemas.io import read_parquet
from offcourse.schemas.results import CELLS

# Figures whose numbers decide claims.
FIGURES = ("figure2", "figure8", "figure9", "figure13", "figure16")
# {figure: files of the release with its numbers}. The release's logit lens is in three figures. Figure 9 is left out:
# the release has its causal effects as shades without a zero, from which no share can be computed.
RELEASED = {
    "figure2": ("figure2/*", "figure6/*", "figure7/*"),
    "figure8": ("figure8/*",),
    "figure13": ("figure13",),
    "figure16": ("figure16",),
}
COMPARED = ["table", "row", "column", "printed", "printed_value", "release", "ours", "verdict", "reason"]


def claim_rows(
    results: ResultsView,
    tables: Sequence[Mapping[str, Any]],
    figures: Sequence[Mapping[str, Any]],
    released: Path | None,
    audits: Mapping[str, Mapping[str, str]],
    study: bool,
) -> list[dict[str, Any]]:
    """A row per claim, as text: the printed number, the release's, the study's, and a verdict.

    The verdict is on the study's number; without a study on the release's, and without a release on the printed number.
    tables, figures: entries of `graph.catalogue`. released: folder of the release's results, None if the release was
        not fetched.
    """
    given = released_tables(released), released_figures(released)
    sources = {"printed": verdicts.printed_numbers(), "release": verdicts.released_numbers(*given)}
    if study:
        sources["ours"] = verdicts.study_numbers(_tables(results, tables), _figures(results, figures))
    known = {table["id"] for table in tables} | {figure["figure"] for figure in figures}
    return [_row(decided, known, audits) for decided in verdicts.decide(verdicts.read_claims(), sources)]


def _row(decided: Mapping[str, Any], known: Collection[str], audits: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    claim = decided["claim"]
    deciding = decided["ours"] if "ours" in decided else decided["release"]
    by = "for this study" if "ours" in decided else "for the release"
    if "ours" not in decided and deciding["found"] is None and decided["printed"]["found"] is not None:
        deciding, by = decided["printed"], "as printed"
    return {
        "name": claim.name,
        "section": claim.section,
        "claim": claim.claim,
        "rule": f"Holds if {claim.unit} is {_needed(claim)}",
        "cells": {name: _said(claim, part) for name, part in decided.items() if name != "claim"},
        "interval": _interval(claim, deciding["found"]),
        "verdict": deciding["verdict"],
        "by": by,
        "shown": claim.shown if claim.shown in known else None,
        "shown_label": claim.shown.replace("table", "Table ").replace("figure", "Figure "),
        "audit": audits.get(claim.shown, {}).get("command"),
    }


def _needed(claim: verdicts.Claim) -> str:
    return f"other than {claim.limit}" if claim.holds == "differs" else f"{claim.holds} {claim.limit}"


def _said(claim: verdicts.Claim, part: Mapping[str, Any]) -> dict[str, str]:
    found = part["found"]
    if found is None:
        return {"text": "–", "note": part["why"]}
    return {
        "text": _number(claim, found.value),
        "note": ", ".join(filter(None, (part["verdict"], f"n\u00a0=\u00a0{found.n}" if found.n else ""))),
    }


def _interval(claim: verdicts.Claim, found: verdicts.Found | None) -> str:
    if found is None or pd.isna(found.low):
        return "–"
    return f"{_number(claim, found.low)} to {_number(claim, found.high)}"


def _number(claim: verdicts.Claim, value: float) -> str:
    """A number as text: whole percentages, other numbers with two decimals."""
    if "percentage" not in claim.unit:
        return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
    return f"{value:.0f}\N{NO-BREAK SPACE}{'points' if 'points' in claim.unit else '%'}".replace("-", "\N{MINUS SIGN}")


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """A sentence that counts the claims by verdict."""
    counts = Counter(row["verdict"] for row in rows)
    known = (verdicts.HOLDS, verdicts.FAILS, verdicts.NOT_CLEAR, verdicts.NO_DATA)
    return f"Verdicts on {len(rows)} claims: {', '.join(f'{verdict} {counts[verdict]}' for verdict in known)}."


def _tables(results: ResultsView, tables: Sequence[Mapping[str, Any]]) -> dict[int, pd.DataFrame]:
    numbers = {table["id"].removeprefix("table"): results / table["parquet"] for table in tables}
    # Only the paper's tables of results decide claims.
    return {number: read_parquet(numbers[str(number)], CELLS) for number in NUMBERS if str(number) in numbers}


def released_tables(released: Path | None) -> dict[int, pd.DataFrame]:
    """{number: table} of the release's tables that exist."""
    paths = {number: Path(released) / f"tables/table{number}.parquet" for number in NUMBERS} if released else {}
    return {number: read_parquet(path, CELLS) for number, path in paths.items() if path.exists()}


def released_figures(released: Path | None) -> dict[str, pd.DataFrame]:
    """{id: numbers} of those figures of the release that decide claims and exist."""
    if released is None:
        return {}
    found = {
        name: [path for pattern in patterns for path in sorted(Path(released).glob(f"figures/{pattern}.parquet"))]
        for name, patterns in RELEASED.items()
    }
    return {name: pd.concat(map(pd.read_parquet, paths), ignore_index=True) for name, paths in found.items() if paths}


def _figures(results: ResultsView, figures: Sequence[Mapping[str, Any]]) -> dict[str, pd.DataFrame]:
    parts: dict[str, list[pd.DataFrame]] = {}
    for page in figures:
        if page["figure"] in FIGURES:
            frame = pd.read_parquet((results / page["svg"]).with_suffix(".parquet"))
            frame = frame if "model" in frame else frame.assign(model=page["model"])
            parts.setdefault(page["figure"], []).append(frame)
    return {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}


def comparison_rows(comparison: pd.DataFrame | None, study: bool) -> tuple[list[str], list[list[str]]]:
    """(headings, rows) of the comparison with the printed numbers, as text, a row per cell; empty without a comparison.

    The column `ours` is left out without a study.
    """
    if comparison is None:
        return [], []
    shown = {name: name.title() for name in COMPARED if name != "printed_value" and (study or name != "ours")}
    shown["release"] = "Recomputed"
    frame = comparison[list(shown)].copy()
    lacks = {"release": [""] * len(frame), "ours": comparison.get("ours_why", [""] * len(frame))}
    for name in {"release", "ours"} & set(shown):
        both = zip(frame[name], lacks[name], strict=True)
        frame[name] = [why if pd.isna(value) else f"{value:.4g}" for value, why in both]
    return list(shown.values()), frame.fillna("").astype(str).to_numpy().tolist()
