"""The paper's claims, each with the cells or figure it rests on and the rule that decides it (resources/claims.tsv).

A rule (`claims.rules`) makes one number with its 95 % interval out of them; a claim holds where the whole interval is
inside a band. So one claim is decided alike from what the paper prints, from the authors' release, and from a study of
other models: verdicts are computed, never typed.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from offcourse.claims.numbers import Found, NoDataError, Numbers
from offcourse.claims.rules import RULES
from offcourse.data.names import RESOURCES
from offcourse.data.printed import NUMBERS, read_printed
from offcourse.data.tsv import FILLED, one_of, read_checked, schema, text_column
from offcourse.errors import OffcourseError

HOLDS, NOT_CLEAR, FAILS, NO_DATA = "holds", "not clear", "does not hold", "no data"
TOO_FEW, NO_INTERVAL = "too few to say", "no interval"
VERDICTS = (HOLDS, FAILS, NOT_CLEAR, TOO_FEW, NO_INTERVAL, NO_DATA)
# Of the models that were counted, without a step to others.
TRUE, FALSE = "true of them", "not true of them"
NOT_PRINTED = "drawn in a figure, no number printed"
NOT_LISTED = "single pairs and questions are not printed"
NO_RELEASE = "release not fetched: make published"
NO_FIGURE = "the release has no such numbers, or they are not computed from it"


@dataclass(frozen=True)
class Claim:
    """One claim. shown: id of the table or figure it rests on. arguments: those of the rule, `key=value` with ";".

    low, high: the band that the claim's words stand for, without its ends; "" where it is open.
    bound: a number that the paper names beside the words, as "at most 20"; "" where it names none.
    vary: other values of arguments and of the band's ends that the claim is decided with as well, `key=value,value`
    with ";".
    about: `models` (a statement about language models, which may carry over to others) or `named` (about the models
    that it names). least: the fewest models whose number says something about others.
    """

    name: str
    section: str
    claim: str
    shown: str
    rule: str
    arguments: str
    low: str
    high: str
    bound: str
    vary: str
    about: str
    least: str
    unit: str

    @property
    def options(self) -> dict[str, str]:
        """The arguments of the rule by name."""
        return _named(self.arguments)

    @property
    def varied(self) -> dict[str, list[str]]:
        """The other values to decide it with, by argument or end of the band."""
        return {key: [each.strip() for each in values.split(",")] for key, values in _named(self.vary).items()}

    @property
    def band(self) -> tuple[float, float]:
        """The ends between which the number must be; an open end is infinite."""
        return float(self.low or "-inf"), float(self.high or "inf")


def _named(text: str) -> dict[str, str]:
    pairs = (part.split("=", 1) for part in text.split(";") if part.strip())
    return {key.strip(): value.strip() for key, value in pairs}


_NUMBER = r"-?\d+(\.\d+)?"


def read_claims(resources: Path = RESOURCES) -> list[Claim]:
    """The claims, in the paper's order. Raises `OffcourseError` naming the line that is wrong."""
    path = Path(resources) / "claims.tsv"
    end = text_column(pa.Check.str_matches(rf"^({_NUMBER})?$", error="a number, or nothing"))
    cells = {"rule": one_of(*RULES), "about": one_of("models", "named"), "low": end, "high": end}
    cells["bound"] = text_column(pa.Check.str_matches(rf"^(at most {_NUMBER})?$", error="at most {number}, or nothing"))
    cells["least"] = text_column(pa.Check.str_matches(r"^[1-9]\d*$", error="a number of models"))
    cells |= dict.fromkeys(("section", "claim", "shown", "unit"), FILLED)
    typed = read_checked(path, schema(Claim, cells))
    claims = [Claim(**row) for row in typed.to_dict("records")]
    for number, claim in enumerate(claims, 2):
        _check_arguments(f"{path}, line {number}", claim)
    return claims


def _check_arguments(where: str, claim: Claim) -> None:
    """The rule takes the claim's arguments, and has those that are varied."""
    takes = inspect.signature(RULES[claim.rule])
    try:
        takes.bind(None, **claim.options)
    except TypeError as wrong:
        raise OffcourseError(f"{where}, column arguments: {claim.rule} cannot be called with them: {wrong}") from None
    if unknown := set(claim.varied) - set(claim.options) - {"low", "high"}:
        raise OffcourseError(
            f"{where}, column vary: {', '.join(sorted(unknown))} is no argument of this claim; expected low, high or "
            f"one of {', '.join(claim.options)}"
        )


def verdict(claim: Claim, found: Found | None) -> str:
    """Whether a claim carries over to models like those behind the number, see `within`.

    Nothing can be said without a number, from fewer models than the claim asks for, and without an interval.
    """
    return _judged(claim, found, *claim.band)


def _judged(claim: Claim, found: Found | None, low: float, high: float) -> str:
    if found is None:
        return NO_DATA
    if found.models is not None and found.models < int(claim.least):
        return TOO_FEW
    return within(found, low, high)


def within(found: Found, low: float, high: float) -> str:
    """Holds where the whole interval is inside the band, does not hold where it is outside; not clear in between.

    An interval that touches an end is in between: exactly there, one item more or less would flip the verdict.
    """
    if np.isnan(found.low):
        return NO_INTERVAL
    if low < found.low and found.high < high:
        return HOLDS
    return FAILS if found.high < low or high < found.low else NOT_CLEAR


def literally(claim: Claim, found: Found | None) -> str:
    """Whether a claim is true of the very models that were counted: of their number, whatever of other models."""
    if found is None:
        return NO_DATA
    low, high = claim.band
    return TRUE if low < found.value < high else FALSE


def bounded(claim: Claim, found: Found | None) -> str:
    """Verdict on the number that the paper names beside the words; "" where it names none."""
    if not claim.bound or found is None:
        return ""
    return _judged(claim, found, -np.inf, float(claim.bound.removeprefix("at most ")))


def find(claim: Claim, numbers: Numbers) -> tuple[Found | None, str]:
    """The claim's number, and why there is none."""
    try:
        return RULES[claim.rule](numbers, **claim.options), ""
    except NoDataError as missing:
        return None, str(missing)


def decide(claims: Sequence[Claim], sources: Mapping[str, Numbers]) -> list[dict]:
    """For each claim and source: `found` (None where there is no data), `verdict` and `why` (there is no data)."""
    decided = []
    for claim in claims:
        row: dict = {"claim": claim}
        for name, numbers in sources.items():
            found, why = find(claim, numbers)
            row[name] = {"found": found, "verdict": verdict(claim, found), "why": why}
        decided.append(row)
    return decided


def printed_numbers() -> Numbers:
    """What the paper prints."""

    def table(number: int) -> pd.DataFrame:
        if number not in NUMBERS:
            raise NoDataError(f"Table {number} has no results")
        frame = read_printed(number)[["row", "column", "value"]]
        return frame.assign(ci_low=np.nan, ci_high=np.nan, n=np.nan)

    return Numbers(table, _nothing(NOT_PRINTED), _nothing(NOT_LISTED))


def study_numbers(
    tables: Mapping[int, pd.DataFrame],
    figures: Mapping[str, pd.DataFrame],
    evidence: Mapping[str, pd.DataFrame] | None = None,
) -> Numbers:
    """What a study found: its tables (`CELLS`) by number, the numbers of its figures by id, and its `evidence`."""

    def part(found: Mapping, name: int | str, said: str) -> pd.DataFrame:
        if name not in found:
            raise NoDataError(f"there is no {said} here")
        return found[name]

    return Numbers(
        lambda number: part(tables, number, f"Table {number}"),
        lambda name: part(figures, name, name.replace("figure", "Figure ")),
        lambda name: part(evidence or {}, name, f"tables/{name}"),
    )


def released_numbers(
    tables: Mapping[int, pd.DataFrame],
    figures: Mapping[str, pd.DataFrame] | None = None,
    evidence: Mapping[str, pd.DataFrame] | None = None,
) -> Numbers:
    """What the authors' release gives again: tables and figures as of a study; no table: it was not fetched."""
    if not tables:
        return Numbers(*[_nothing(NO_RELEASE)] * 3)
    found = study_numbers(tables, figures or {}, evidence)

    def figure(name: str) -> pd.DataFrame:
        if name not in (figures or {}):
            raise NoDataError(NO_FIGURE)
        return found.figure(name)

    return Numbers(found.table, figure, found.evidence)


def _nothing(why: str) -> Callable:
    def refuse(_: object) -> pd.DataFrame:
        raise NoDataError(why)

    return refuse
