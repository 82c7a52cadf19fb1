"""The paper's claims, each with the cells or figure it rests on and the rule that decides it (resources/claims.tsv).

A rule makes one number with its 95 % interval out of them; a claim holds where the number is on the claimed side of a
limit. So one claim is decided alike from what the paper prints, from the authors' release, and from a study of other
models: verdicts are computed, never typed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from offcourse.analysis.truthfulness import wilson
from offcourse.errors import OffcourseError
from offcourse.printed import read_printed
from offcourse.registry import RESOURCES
from offcourse.tsv import FILLED, one_of, read_tsv, schema, text_column

HOLDS, NOT_CLEAR, FAILS, NO_DATA = "holds", "not clear", "does not hold", "no data"
# The row that the paper quotes from Chuang et al. (2024) is no result of its own.
QUOTED = "*"
NOT_PRINTED = "drawn in a figure, no number printed"
NO_RELEASE = "release not fetched: make published"
NO_FIGURE = "the release has no such numbers, or they are not computed from it"
NO_STUDY = "no study here"


@dataclass(frozen=True)
class Claim:
    """One claim. shown: id of the table or figure it rests on. arguments: those of the rule, `key=value` with ";".

    holds: on which side of `limit` the number must be: above, below, or differs (either).
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


@dataclass(frozen=True)
class Found:
    """A rule's number. low, high: its 95 % interval, NaN where there is none. n: models or pairs behind it."""

    value: float
    low: float = np.nan
    high: float = np.nan
    n: int | None = None


class NoDataError(Exception):
    """What a rule needs is not there; the text says why."""


@dataclass(frozen=True)
class Numbers:
    """The numbers of one source; both raise `NoDataError` for what it does not have.

    table: by number, with columns row, column, value, ci_low, ci_high, n. figure: by id, as the figure's parquet.
    """

    table: Callable[[int], pd.DataFrame]
    figure: Callable[[str], pd.DataFrame]


def read_claims(resources: Path = RESOURCES) -> list[Claim]:
    """The claims, in the paper's order. Raises `OffcourseError` naming the line that is wrong."""
    path = Path(resources) / "claims.tsv"
    number = text_column(pa.Check.str_matches(r"^-?\d+(\.\d+)?$", error="a number"))
    cells = {"rule": one_of(*RULES), "holds": one_of("above", "below", "differs"), "limit": number}
    cells |= dict.fromkeys(("section", "claim", "shown", "unit"), FILLED)
    typed = read_checked(path, schema(Claim, cells))
    return [Claim(**row) for row in typed.to_dict("records")]


def cell(numbers: Numbers, table: str, row: str, column: str) -> Found:
    """One cell, with its interval."""
    frame = numbers.table(int(table))
    frame = frame[(frame["row"] == row) & (frame["column"] == column) & frame["value"].notna()]
    if frame.empty:
        raise NoDataError(f"Table {table} has no {row} at {column} here")
    return Found(*(float(frame[name].iloc[0]) for name in ("value", "ci_low", "ci_high")), _count(frame["n"].iloc[0]))


def cell_difference(numbers: Numbers, table: str, row: str, minus: str, column: str) -> Found:
    """One cell less another of the same pairs; without an interval, since the two are not independent."""
    one, other = (cell(numbers, table, name, column) for name in (row, minus))
    return Found(one.value - other.value, n=one.n)


def share_that_gains(numbers: Numbers, table: str, by: str, **ends: str) -> Found:
    """Percentage of models whose column `to` is at least `by` above their column `from`."""
    frame = numbers.table(int(table))
    frame = frame[~frame["row"].str.contains(QUOTED, regex=False)]
    sides = [frame[frame["column"] == ends[end]].set_index("row")["value"] for end in ("from", "to")]
    gains = (sides[1] - sides[0]).dropna()
    # Numbers of a table are decimals: 0.32 - 0.26 is not below 0.06.
    return _share([gain >= float(by) - 1e-9 for gain in gains], f"Table {table}")


def share_with_few_heads(numbers: Numbers, heads: str, effect: str) -> Found:
    """Percentage of models whose strongest `heads` (a share of all) carry more than `effect` of the positive effect.

    Effects are means over trials and tasks; heads that lower the answer's probability are left out of the sum.
    """
    few = []
    for _, mine in numbers.figure("figure9").groupby("model"):
        means = mine.groupby(["layer", "head"])["effect"].mean().clip(lower=0).sort_values(ascending=False)
        strongest = max(1, round(float(heads) * len(means)))
        few.append(means.sum() > 0 and means.iloc[:strongest].sum() > float(effect) * means.sum())
    return _share(few, "Figure 9")


def mean_change(numbers: Numbers) -> Found:
    """Mean change over groups of tasks, with the interval of the group means."""
    frame = numbers.figure("figure16")
    changes = frame["change"].dropna().to_numpy(float)
    if not len(changes):
        raise NoDataError("Figure 16 has no change here")
    half = 1.96 * changes.std(ddof=1) / len(changes) ** 0.5 if len(changes) > 1 else np.nan
    return Found(changes.mean(), changes.mean() - half, changes.mean() + half, int(frame["pairs"].max()))


def share_with_late_rise(numbers: Numbers, depth: str) -> Found:
    """Percentage of models whose right answer stays below half of its final probability until `depth` of the layers."""
    late = []
    for _, mine in numbers.figure("figure2").groupby(["model", "questions"]):
        line = mine[mine["line"] == "correct"].sort_values("layer")["mean"].to_numpy()
        below = np.flatnonzero(line < line[-1] / 2)
        late.append(len(below) > 0 and (below[-1] + 1) / (len(line) - 1) >= float(depth))
    return _share(late, "Figure 2")


def share_with_a_stir(numbers: Numbers) -> Found:
    """Percentage of models whose apathy, over both sub-layers, is lower at the block of the largest rise than before.

    The rise is that of the top probability from a block's input to its output (states count from 0, before block 0).
    """
    apathy, stirred = numbers.figure("figure8"), []
    for key, lens in numbers.figure("figure2").groupby(["model", "questions"]):
        top = lens[lens["line"] == "top"].sort_values("layer")["mean"].to_numpy()
        mine = apathy[(apathy["model"] == key[0]) & (apathy["questions"] == key[1])]
        mine = mine[mine["line"].isin(["mha", "mlp"])]
        by_block = mine.groupby("layer")["scaled"].mean().sort_index().to_numpy()
        block = int(np.diff(top).argmax())
        stirred.append(block > 0 and by_block[block] < by_block[:block].mean())
    return _share(stirred, "Figure 8")


RULES: dict[str, Callable[..., Found]] = {
    rule.__name__: rule
    for rule in (
        cell,
        cell_difference,
        share_that_gains,
        share_with_few_heads,
        mean_change,
        share_with_late_rise,
        share_with_a_stir,
    )
}


def _share(met: list[bool], where: str) -> Found:
    if not met:
        raise NoDataError(f"{where} has no model here")
    low, high = wilson([float(each) for each in met])
    return Found(100 * float(np.mean(met)), 100 * low, 100 * high, len(met))


def _count(n: object) -> int | None:
    return None if pd.isna(n) else int(n)


def verdict(claim: Claim, found: Found | None) -> str:
    """Whether a claim holds for a number: not clear where the number agrees, but its interval spans the limit.

    A number without an interval (as printed, or a difference) is taken as it is.
    """
    if found is None:
        return NO_DATA
    limit = float(claim.limit)
    agrees = {"above": found.value > limit, "below": found.value < limit, "differs": found.value != limit}
    # At the limit itself "no less than" would be a matter of one item.
    if not np.isnan(found.low) and found.low <= limit <= found.high:
        return NOT_CLEAR
    return HOLDS if agrees[claim.holds] else FAILS


def decide(claims: list[Claim], sources: Mapping[str, Numbers]) -> list[dict]:
    """For each claim and source: `found` (None where there is no data), `verdict` and `why` (there is no data)."""
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


def printed_numbers(resources: Path = RESOURCES) -> Numbers:
    """What the paper prints."""

    def table(number: int) -> pd.DataFrame:
        frame = read_printed(number, resources)[["row", "column", "value"]]
        return frame.assign(ci_low=np.nan, ci_high=np.nan, n=np.nan)

    return Numbers(table, _nothing(NOT_PRINTED))


def study_numbers(tables: Mapping[int, pd.DataFrame], figures: Mapping[str, pd.DataFrame]) -> Numbers:
    """What a study found: its tables (`artefacts.CELLS`) by number, and the numbers of its figures by id."""

    def table(number: int) -> pd.DataFrame:
        if number not in tables:
            raise NoDataError(f"there is no Table {number} here")
        return tables[number]

    def figure(name: str) -> pd.DataFrame:
        if name not in figures:
            raise NoDataError(f"there is no {name.replace('figure', 'Figure ')} here")
        return figures[name]

    return Numbers(table, figure)


def released_numbers(tables: Mapping[int, pd.DataFrame]) -> Numbers:
    """What the authors' release gives again: its tables, as of a study; none of them: not fetched."""
    if not tables:
        return Numbers(_nothing(NO_RELEASE), _nothing(NO_RELEASE))
    return Numbers(study_numbers(tables, {}).table, _nothing(NO_FIGURE))


def _nothing(why: str) -> Callable:
    def refuse(which: object) -> pd.DataFrame:
        raise NoDataError(why)

    return refuse
