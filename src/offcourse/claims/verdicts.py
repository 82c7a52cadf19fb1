"""The paper's claims and their verdicts; resources/claims.tsv has a claim's table or figure and its rule.

A rule (`claims.rules`) computes one number with its 95 % interval from the table or figure. A claim holds if the number
is on the claimed side of a limit. One rule decides a claim from the paper's printed numbers, from the authors' release
and from a study of other models, so verdicts are computed and never typed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from offcourse.claims.rules import RULES, Found, NoDataError, Numbers
from offcourse.data.names import RESOURCES
from offcourse.data.printed import read_printed
from offcourse.data.tsv import FILLED, one_of, read_checked, schema, text_column

HOLDS, NOT_CLEAR, FAILS, NO_DATA = "holds", "not clear", "does not hold", "no data"
NOT_PRINTED = "drawn in a figure, no number printed"
NO_RELEASE = "release not fetched: make published"
NO_FIGURE = "the release has no such numbers, or they are not computed from it"


@dataclass(frozen=True)
class Claim:
    """One claim. shown: id of its table or figure. arguments: the rule's arguments, `key=value` separated by ";".

    holds: the side of `limit` on which the number must be: above, below, or differs (either side).
    """

    name: str
    section: str
    claim: str
    shown: str
    rule: str
    arguments: str
    holds: str
    limit: str
    unit: str

    @property
    def options(self) -> dict[str, str]:
        """The arguments of the rule by name."""
        pairs = (part.split("=", 1) for part in self.arguments.split(";") if part.strip())
        return {key.strip(): value.strip() for key, value in pairs}


def read_claims(resources: Path = RESOURCES) -> list[Claim]:
    """The claims, in the paper's order. Raises `OffcourseError` naming the line that is wrong."""
    path = Path(resources) / "claims.tsv"
    number = text_column(pa.Check.str_matches(r"^-?\d+(\.\d+)?$", error="a number"))
    cells = {"rule": one_of(*RULES), "holds": one_of("above", "below", "differs"), "limit": number}
    cells |= dict.fromkeys(("section", "claim", "shown", "unit"), FILLED)
    typed = read_checked(path, schema(Claim, cells))
    return [Claim(**row) for row in typed.to_dict("records")]


def verdict(claim: Claim, found: Found | None) -> str:
    """The verdict on a claim: "not clear" if the number agrees with the claim but its interval contains the limit.

    A number without an interval (a printed number, a difference) is compared directly.
    """
    if found is None:
        return NO_DATA
    limit = float(claim.limit)
    agrees = {"above": found.value > limit, "below": found.value < limit, "differs": found.value != limit}
    # An interval that touches the limit counts as "not clear": exactly at the limit, one item more or less would flip
    # the verdict.
    if not np.isnan(found.low) and found.low <= limit <= found.high:
        return NOT_CLEAR
    return HOLDS if agrees[claim.holds] else FAILS


def decide(claims: list[Claim], sources: Mapping[str, Numbers]) -> list[dict]:
    """For each claim and source: `found` (None without data), `verdict`, and `why` (the reason for missing data)."""
    decided = []
    for claim in claims:
        row: dict = {"claim": claim}
        for name, numbers in sources.items():
            try:
                found, why = RULES[claim.rule](numbers, **claim.options), ""
            except NoDataError as missing:
                found, why = None, str(missing)
            row[name] = {"found": found, "verdict": verdict(claim, found), "why": why}
        decided.append(row)
    return decided


def printed_numbers() -> Numbers:
    """The numbers that the paper prints."""

    def table(number: int) -> pd.DataFrame:
        frame = read_printed(number)[["row", "column", "value"]]
        return frame.assign(ci_low=np.nan, ci_high=np.nan, n=np.nan)

    return Numbers(table, _nothing(NOT_PRINTED))


def study_numbers(tables: Mapping[int, pd.DataFrame], figures: Mapping[str, pd.DataFrame]) -> Numbers:
    """The numbers of a study. tables: {number: table of schema `CELLS`}. figures: {id: the figure's numbers}."""

    def table(number: int) -> pd.DataFrame:
        if number not in tables:
            raise NoDataError(f"there is no Table {number} here")
        return tables[number]

    def figure(name: str) -> pd.DataFrame:
        if name not in figures:
            raise NoDataError(f"there is no {name.replace('figure', 'Figure ')} here")
        return figures[name]

    return Numbers(table, figure)


def released_numbers(tables: Mapping[int, pd.DataFrame], figures: Mapping[str, pd.DataFrame] | None = None) -> Numbers:
    """The numbers of the authors' release; arguments as of `study_numbers`. No table: the release was not fetched."""
    if not tables:
        return Numbers(_nothing(NO_RELEASE), _nothing(NO_RELEASE))
    found = study_numbers(tables, figures or {})

    def figure(name: str) -> pd.DataFrame:
        if name not in (figures or {}):
            raise NoDataError(NO_FIGURE)
        return found.figure(name)

    return Numbers(found.table, figure)


def _nothing(why: str) -> Callable:
    def refuse(_: object) -> pd.DataFrame:
        raise NoDataError(why)

    return refuse
