"""The numbers of Tables 1 to 3, and the claims, that each protocol switch changes (`study.protocol`).

Turning a switch means giving it its other value. A switch of the analysis is turned here, on the existing results, and
so is `head_read_position` in a study with the control `read_position`. Any other switch needs the models to run again
and is listed as such, unless it can change no number of Tables 1 to 3; `offcourse diff` compares two such studies.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import pandas as pd
import pandera.pandas as pa

from offcourse.analysis.sources import PERCENT, PERCENT_OF, SHARE
from offcourse.claims import verdicts as claims
from offcourse.claims.numbers import Numbers
from offcourse.study.protocol import Protocol

# Tables that a switch of the analysis can change.
TURNED = {
    "default_heads": (3,),
    "tv_denominator": (3,),
    "tv_direction": (3,),
    "tv_score": (3,),
    "ties": (1, 2),
    "score_dtype": (1,),
    "selection": (1, 2, 3),
}
NOTES = {
    "score_dtype": "only how MC2 adds up exponentials; the precision of the scores themselves needs a rerun",
    "tv_average": "no number of Tables 1 to 3: only average recovery (Figure 3)",
    "length_bias": "no number of Tables 1 to 3: only the base model with a length bias (Table 7)",
}
SAME = 1e-9  # sums of the same numbers in another order differ by less
RERUN = "needs a rerun: offcourse diff of two studies"
NOT_HERE = "no table here that it could move"
NOTHING = "no number of Tables 1 to 3 moves"
NO_BIAS = "no number moves: no model here has a bias in its attention output"
BOS = "a comparison between models, not a rerun of the same ones (which function_vectors.controls: [read_position] is)"
ALIKE = "the same, by construction: both values read this model's heads at one token"
# Where the split of models by what their tokenizers add is from.
ASKED = "what each tokenizer adds was asked of the tokenizer itself"
TYPED = "which tokenizers add a BOS was typed by hand, not checked"
GROUPS = ("with BOS", "without")
NOT_DEFINED = "few-shot accuracy is 0, so that there is no recovery"
OF_BIAS = ("cie_output_bias", "fv_output_bias")
# Units of the paper's own cells. Cells of other units (other tie rules, shares of ties, p-values) are not compared.
UNITS = (PERCENT, SHARE, PERCENT_OF)
# before, after: in the table's unit, missing where the switch was not turned; with the ends of their intervals, missing
# where the table has none. claims: claims whose verdict changes.
NUMBERS = ("before", "before_low", "before_high", "after", "after_low", "after_high")
COLUMNS = ["switch", "change", "table", "row", "column", *NUMBERS, "claims", "note"]
SENSITIVITY = pa.DataFrameSchema(
    {
        "switch": pa.Column(str, pa.Check.isin(list(Protocol.model_fields))),
        "change": pa.Column(str),
        "table": pa.Column(str),
        "row": pa.Column(str),
        "column": pa.Column(str),
        **{name: pa.Column(float, nullable=True) for name in NUMBERS},
        "claims": pa.Column(str),
        "note": pa.Column(str),
    },
    strict=True,
    ordered=True,
)

# {number: table of schema `CELLS`}, and beside Table 3 its pairs under PAIRS, which rules on Table 3 count.
Tables = Mapping[int | str, pd.DataFrame]
PAIRS = "recovery"
# (protocol, numbers of tables, models to leave out) -> tables, for those that there are.
Make = Callable[[Protocol, Collection[int], Collection[str]], Tables]


@dataclass(frozen=True)
class Limits:
    """The switches that can be turned on the existing results.

    turned: {switch: tables that can be made under its other value}. cannot: {switch: {table: why it cannot be made}}.
    without: {switch: models without results for its other value}, which are left out on both sides. output_bias:
    whether some model has a bias in its attention output.
    """

    turned: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: TURNED)
    cannot: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    without: Mapping[str, Collection[str]] = field(default_factory=dict)
    output_bias: bool = True


def sensitivity(
    make: Make, protocol: Protocol, limits: Limits, rules: Sequence[claims.Claim] | None = None
) -> pd.DataFrame:
    """A row for every cell that a switch changes, and a row for every switch that changes none or cannot be turned.

    protocol: the protocol of the results. rules: the paper's claims (None: resources/claims.tsv).
    """
    whole, rows = make(protocol, (1, 2, 3), ()), []
    rules = claims.read_claims() if rules is None else rules
    for switch, field_ in Protocol.model_fields.items():
        now = getattr(protocol, switch)
        for other in (value for value in get_args(field_.annotation) if value != now):
            rows += _of_switch(make, protocol, limits, rules, switch, other, whole)
    return _frame(rows)


def _of_switch(
    make: Make,
    protocol: Protocol,
    limits: Limits,
    rules: Sequence[claims.Claim],
    switch: str,
    other: str,
    whole: Tables,
) -> list[tuple]:
    """The rows of one other value of a switch. whole: all tables under the protocol of the results."""
    change = f"{getattr(protocol, switch)} → {other}"
    if switch not in limits.turned:
        moot = switch in OF_BIAS and not limits.output_bias
        return [_said(switch, change, NO_BIAS if moot else NOTES.get(switch, RERUN))]
    cannot, without = limits.cannot.get(switch, {}), limits.without.get(switch, ())
    wanted = [number for number in limits.turned[switch] if number not in cannot]
    before = make(protocol, wanted, without) if without else whole
    after = make(protocol.model_copy(update={switch: other}), wanted, without)
    note = "; ".join(filter(None, (NOTES.get(switch, ""), without and f"without {', '.join(without)}")))
    rows = []
    for number in (number for number in after if number != PAIRS):
        verdicts = "; ".join(_verdicts(rules, number, before, after))
        rows += [(switch, change, *cell, verdicts, note) for cell in _moved(number, before[number], after[number])]
    if after and not rows:
        rows.append(_said(switch, change, "; ".join(filter(None, (NOTHING, note)))))
    rows += [_said(switch, change, why, f"table{number}") for number, why in cannot.items()]
    return rows or [_said(switch, change, NOT_HERE)]


def by_bos(
    tables: tuple[Tables, Tables], counts: tuple[int, int], rules: Sequence[claims.Claim], checked: bool
) -> pd.DataFrame:
    """Function vectors of models whose tokenizer adds a BOS (`before`) and of the others (`after`), as in Table 3.

    As published, the first ones' mean activations are read at the second-to-last token, the others' at the last (switch
    `head_read_position`). `claims` has the verdict on each claim about a cell, from either group's models alone.

    tables: Table 3 (`CELLS`) and its pairs, of either group. counts: of models. checked: whether the tokenizers
    themselves were asked what they add.
    """
    change, note = f"models that add BOS: {counts[0]}; others: {counts[1]}", f"{BOS}; {ASKED if checked else TYPED}"
    sources = dict(zip(GROUPS, (_numbers(3, each) for each in tables), strict=True))
    judged = [claim for claim in rules if claim.options.get("table") == "3" and "column" in claim.options]
    rows, sides = [], [_cells(each[3][each[3]["unit"] == PERCENT]) for each in tables]
    for row, column in sides[0].index:
        mine = [claim for claim in judged if (claim.options.get("row"), claim.options["column"]) == (row, column)]
        said = [
            f"{one['claim'].name}: " + ", ".join(f"{one[group]['verdict']} ({group})" for group in GROUPS)
            for one in claims.decide(mine, sources)
        ]
        values = [number for side in sides for number in side.loc[(row, column), :]]
        rows.append(("head_read_position", change, "table3", row, column, *values, "; ".join(said), note))
    return _frame(rows)


def by_read_position(pairs: pd.DataFrame, other: pd.DataFrame, alike: Collection[str], change: str) -> pd.DataFrame:
    """Mean peak recovery (Eq. 7) of every model under two values of `head_read_position`, over the tasks that have it.

    pairs, other: of Table 3, with `search` and `few_shot`, as the study reads heads and under the other value. alike:
    models that both values read at one token.
    """
    rows = []
    for model, mine in pairs.groupby("model", sort=False):
        known = mine["few_shot"] > 0
        theirs = other[other["model"] == model].set_index("task").loc[mine["task"]]
        sides = [(side["search"].to_numpy() / mine["few_shot"])[known].mean() for side in (mine, theirs)]
        column = f"peak recovery, mean of {known.sum()} task{'' if known.sum() == 1 else 's'}"
        note = "; ".join(filter(None, ("" if known.any() else NOT_DEFINED, ALIKE if model in alike else "")))
        numbers = [number for side in sides for number in (side, None, None)]
        rows.append(("head_read_position", change, "", model, column, *numbers, "", note))
    return _frame(rows)


def _said(switch: str, change: str, why: str, table: str = "") -> tuple:
    """A row without numbers."""
    return switch, change, table, "", "", *[None] * len(NUMBERS), "", why


def _moved(number: int, before: pd.DataFrame, after: pd.DataFrame) -> Iterator[tuple]:
    """The paper's cells of a table that differ: (table, row, column, then `NUMBERS`)."""
    sides = [_cells(frame) for frame in (before, after)]
    both = pd.concat(sides, axis=1, keys=("before", "after"))
    for (row, column), cell in both.iterrows():
        one, other = cell["before", "value"], cell["after", "value"]
        if not np.isclose(one, other, rtol=0, atol=SAME, equal_nan=True):
            yield f"table{number}", row, column, *cell["before"], *cell["after"]


def _cells(frame: pd.DataFrame) -> pd.DataFrame:
    """[cells, (value, low, high)] by row and column."""
    return frame[frame["unit"].isin(UNITS)].set_index(["row", "column"])[["value", "ci_low", "ci_high"]]


def _verdicts(rules: Sequence[claims.Claim], number: int, before: Tables, after: Tables) -> list[str]:
    """Claims about a table whose verdict differs, each with both verdicts."""
    rest = [claim for claim in rules if claim.options.get("table") == str(number)]
    sides = (("before", before), ("after", after))
    sources = {name: _numbers(number, tables) for name, tables in sides}
    decided = [(row["claim"].name, *(row[side]["verdict"] for side in sources)) for row in claims.decide(rest, sources)]
    return [f"{name}: {one} → {other}" for name, one, other in decided if one != other]


def _numbers(number: int, tables: Tables) -> Numbers:
    """A table as the rules of claims read it; of Table 3 its pairs as well, from which differences get an interval."""
    pairs = {PAIRS: tables[PAIRS]} if number == 3 and PAIRS in tables else {}
    return claims.study_numbers({number: tables[number]}, {}, pairs)


def _frame(rows: list[tuple]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(NUMBERS, float))
    return SENSITIVITY.validate(frame)
