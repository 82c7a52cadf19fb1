"""The claims and the comparison with the printed numbers as the report shows them."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from offcourse.analysis.view import ResultsView
from offcourse.archive.read_early import read_early
from offcourse.claims import verdicts
from offcourse.claims.numbers import Found, Numbers
from offcourse.claims.turns import limits, turns
from offcourse.data.printed import NUMBERS
from offcourse.data.registry import Registry
from offcourse.schemas.io import read_parquet, read_unchecked
from offcourse.schemas.results import CELLS, FACT_CELLS
from offcourse.study.labels import Labels, labels_of
from offcourse.tables.dola_changes import CHANGES
from offcourse.tables.head_overlap import OVERLAP
from offcourse.tables.recovery import RECOVERY

# Tables of results, and that of the facts of architecture.
TABLES = (*NUMBERS, 11)
EVIDENCE = {"recovery": RECOVERY, "dola_changes": CHANGES, "head_overlap": OVERLAP}
# Figures whose numbers a claim may rest on.
FIGURES = ("figure2", "figure8", "figure11", "figure13", "figure15")
# Those of the release, by the files that they are in: its lens is in three figures.
RELEASED = {
    "figure2": ("figure2/*", "figure6/*", "figure7/*"),
    "figure8": ("figure8/*",),
    "figure11": ("figure11",),
    "figure13": ("figure13",),
    "figure15": ("figure15",),
}
# Tables and figures with claims on function vectors, whose heads may have been read one token early.
TOUCHED = ("table3", "table11", "figure3", "figure5", "figure9", "figure13", "figure15")
# The sides that a claim is judged on, with their headings. The release's models whose tokenizer adds a BOS had their
# heads read one token early; the others had not.
SIDES = {
    "printed": "Printed",
    "release": "Released, all models",
    "unaffected": "Released, read at the last token",
    "affected": "Released, read one token early",
    "ours": "Ours",
}
OF_RELEASE = ("release", "unaffected", "affected")
COMPARED = ["table", "row", "column", "printed", "printed_value", "release", "ours", "verdict", "reason"]


def claim_rows(
    results: ResultsView,
    tables: Sequence[Mapping[str, Any]],
    figures: Sequence[Mapping[str, Any]],
    released: Path | None,
    audits: Mapping[str, Mapping[str, str]],
    study: bool,
) -> list[dict[str, Any]]:
    """A row per claim, as text: what is printed, what the release gives, what the study found, and the verdicts.

    `literal` says whether the claim is true of the paper's own models, by the released number, else by the printed one.
    `verdict` says whether it carries over to other models: of the study's number; without a study of the release's, and
    failing that of the printed one. `turns` are where that verdict turns.
    tables, figures: as `graph.catalogue` lists them. released: folder of the release's results, None where it was not
        fetched.
    """
    given = released_numbers(released)
    sources = {"printed": verdicts.printed_numbers(), "release": given}
    early = read_early(Registry.load().models)
    for name, affected in (("unaffected", False), ("affected", True)):
        sources[name] = given.only([model for model, its in early.items() if its == affected])
    if study:
        sources["ours"] = verdicts.study_numbers(
            _tables(results, tables), _figures(results, figures), _evidence(results)
        )
    known = {table["id"] for table in tables} | {figure["figure"] for figure in figures}
    decided = verdicts.decide(verdicts.read_claims(), sources)
    labels = labels_of(Registry.load())
    return [_row(each, sources, known, audits, labels) for each in decided]


def _row(
    decided: Mapping[str, Any],
    sources: Mapping[str, Numbers],
    known: Collection[str],
    audits: Mapping[str, Mapping[str, str]],
    labels: Labels,
) -> dict[str, Any]:
    claim = decided["claim"]
    side = "ours" if "ours" in decided else "release"
    if side == "release" and decided[side]["found"] is None and decided["printed"]["found"] is not None:
        side = "printed"
    found = decided[side]["found"]
    by = {"ours": "for this study", "release": "for the release", "printed": "as printed"}
    own = decided["release"]["found"] or decided["printed"]["found"]
    bound = verdicts.bounded(claim, found)
    return {
        "name": claim.name,
        "section": claim.section,
        "claim": claim.claim,
        "rule": f"Holds if {claim.unit} is {_needed(claim)}{f'; the paper names {claim.bound}' if claim.bound else ''}",
        "about": claim.about,
        "early": _of_function_vectors(claim),
        "cells": {name: _said(claim, part, labels) for name, part in decided.items() if name != "claim"},
        "literal": verdicts.literally(claim, own),
        "verdict": decided[side]["verdict"],
        "verdicts": {name: part["verdict"] for name, part in decided.items() if name != "claim"},
        "by": ", ".join(filter(None, (by[side], f"{claim.bound}: {bound}" if bound else ""))),
        "limits": [_limit(claim, *limit) for limit in limits(claim, found)],
        "turns": [
            f"{turn.changed}: {_with_interval(claim, turn.found)}, {turn.verdict}"
            for turn in turns(claim, sources[side], found)
            if turn.found is not None
        ],
        "shown": claim.shown if claim.shown in known else None,
        "shown_label": claim.shown.replace("table", "Table ").replace("figure", "Figure "),
        "audit": audits.get(claim.shown, {}).get("command"),
    }


def _of_function_vectors(claim: verdicts.Claim) -> bool:
    """Whether a claim's number is of function vectors, whose heads may have been read one token early."""
    method = claim.options.get("method", claim.options.get("row", "FV"))
    return claim.shown in TOUCHED and method.startswith("FV")


def _needed(claim: verdicts.Claim) -> str:
    ends = (("above", claim.low), ("below", claim.high))
    return " and ".join(f"{side} {end}" for side, end in ends if end).replace("-", "\N{MINUS SIGN}")


def _said(claim: verdicts.Claim, part: Mapping[str, Any], labels: Labels) -> dict[str, Any]:
    found = part["found"]
    if found is None:
        return {
            "text": "–",
            "interval": "",
            "note": labelled(part["why"], labels),
            "verdict": part["verdict"],
            "known": False,
        }
    count = f"n\u00a0=\u00a0{found.n}" if found.n else ""
    ends = "" if pd.isna(found.low) else f"[{_number(claim, found.low, '')}, {_number(claim, found.high, '')}]"
    note = ", ".join(filter(None, (count, labelled(found.note, labels))))
    text = _number(claim, found.value)
    return {"text": text, "interval": ends, "note": note, "verdict": part["verdict"], "known": True}


def labelled(text: str, labels: Labels) -> str:
    """A text with the labels of the models that it names, and of the task or question set in brackets after a model."""

    def label(word: re.Match) -> str:
        model, unit = word.groups()
        if unit is None:
            return labels.model(model)
        return labels.row(word[0]) if model in labels.models else f"{model} ({labels.model(unit)})"

    return re.sub(r"([\w.-]*\w)(?: \(([\w-]+)\))?", label, text)


def _limit(claim: verdicts.Claim, end: str, low: float, high: float) -> str:
    """Where the verdict turns when an end of the band is moved."""
    low, high = _number(claim, low), _number(claim, high)
    if end == "low":
        return f"a lower limit: met below {low}, missed above {high}, not clear between"
    return f"an upper limit: met above {high}, missed below {low}, not clear between"


def _with_interval(claim: verdicts.Claim, found: Found) -> str:
    ends = "" if pd.isna(found.low) else f" [{_number(claim, found.low, '')}, {_number(claim, found.high, '')}]"
    return f"{_number(claim, found.value)}{ends}"


def _number(claim: verdicts.Claim, value: float, sign: str = "\N{NO-BREAK SPACE}%") -> str:
    """Percentages and points whole, other numbers with two decimals; no minus before a zero."""
    percent = "percentage" in claim.unit
    text = f"{value:.0f}" if percent else f"{value:.2f}"
    text = text.lstrip("-") if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")
    return text + (sign.replace("%", "points") if percent and "points" in claim.unit else sign if percent else "")


def summary(rows: Sequence[Mapping[str, Any]], study: bool = False) -> list[str]:
    """How many claims have which verdict, in words: of the paper's own models, and for other models on each side."""

    def counted(said: Counter, words: Sequence[str]) -> str:
        return ", ".join(f"{word} {said[word]}" for word in words if said[word])

    literal = Counter(row["literal"] for row in rows)
    lines = [
        f"{len(rows)} claims. Of the paper’s own models, by their numbers: "
        f"{counted(literal, (verdicts.TRUE, verdicts.FALSE, verdicts.NO_DATA))}."
    ]
    sides = {
        "release": "Carried over to other models, by the release (all models)",
        "unaffected": "By the released models read at the last token",
        "affected": "By the released models read one token early",
    } | ({"ours": "For this study"} if study else {})
    for name, said in sides.items():
        found = Counter(row["verdicts"][name] for row in rows)
        lines.append(f"{said}: {counted(found, verdicts.VERDICTS)}.")
    return lines


def _tables(results: ResultsView, tables: Sequence[Mapping[str, Any]]) -> dict[int, pd.DataFrame]:
    numbers = {table["id"].removeprefix("table"): results / table["parquet"] for table in tables}
    return {
        number: read_parquet(numbers[str(number)], CELLS, FACT_CELLS) for number in TABLES if str(number) in numbers
    }


def _evidence(results: ResultsView) -> dict[str, pd.DataFrame]:
    paths = {name: f"tables/{name}.parquet" for name in EVIDENCE}
    return {name: read_parquet(results / path, EVIDENCE[name]) for name, path in paths.items() if path in results}


def released_numbers(released: Path | None) -> Numbers:
    """What the release gives again, of what there is in its folder."""
    folder = Path(released) / "tables" if released else Path("nowhere")
    tables = {number: folder / f"table{number}.parquet" for number in TABLES}
    tables = {number: read_parquet(path, CELLS, FACT_CELLS) for number, path in tables.items() if path.exists()}
    evidence = {name: folder / f"{name}.parquet" for name in EVIDENCE}
    evidence = {name: read_parquet(path, EVIDENCE[name]) for name, path in evidence.items() if path.exists()}
    return verdicts.released_numbers(tables, released_figures(released), evidence)


def released_figures(released: Path | None) -> dict[str, pd.DataFrame]:
    """The numbers of its figures that claims rest on, of those that there are."""
    if released is None:
        return {}
    found = {
        name: [path for pattern in patterns for path in sorted(Path(released).glob(f"figures/{pattern}.parquet"))]
        for name, patterns in RELEASED.items()
    }
    return {name: pd.concat(map(read_unchecked, paths), ignore_index=True) for name, paths in found.items() if paths}


def _figures(results: ResultsView, figures: Sequence[Mapping[str, Any]]) -> dict[str, pd.DataFrame]:
    parts: dict[str, list[pd.DataFrame]] = {}
    for page in figures:
        if page["figure"] in FIGURES:
            frame = read_unchecked((results / page["svg"]).with_suffix(".parquet"))
            frame = frame if "model" in frame else frame.assign(model=page["model"])
            parts.setdefault(page["figure"], []).append(frame)
    return {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}


def comparison_rows(comparison: pd.DataFrame | None, study: bool) -> tuple[list[str], list[list[str]]]:
    """The comparison with the printed numbers, cell by cell, as text: its headings and rows; none without one.

    `ours` is left out where there is no study.
    """
    if comparison is None:
        return [], []
    shown = {name: name.title() for name in COMPARED if name != "printed_value" and (study or name != "ours")}
    shown["release"] = "Recomputed"
    frame = comparison[list(shown)].copy()
    lacks = {"release": [""] * len(frame), "ours": comparison.get("ours_why", [""] * len(frame))}
    for name in {"release", "ours"} & set(shown):
        both = zip(frame[name], lacks[name], strict=True)
        frame[name] = [why if pd.isna(value) else f"{value:.{4 if name == 'release' else 3}g}" for value, why in both]
    return list(shown.values()), frame.fillna("").astype(str).to_numpy().tolist()
