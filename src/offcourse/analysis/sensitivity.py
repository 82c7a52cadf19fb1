"""Which numbers of Tables 1 to 3, and which claims, a protocol switch changes (`study.protocol`).

A switch that changes only how results are analysed is turned here, on the same results. Any other needs the models to
run again: it is listed as such, and `offcourse diff` compares the two studies.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import get_args

import numpy as np
import pandas as pd
import pandera.pandas as pa

from offcourse.analysis import claims, recovery
from offcourse.analysis.sources import PERCENT, PERCENT_OF, SHARE
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
}
SAME = 1e-9  # sums of the same numbers in another order differ by less
RERUN = "needs a rerun: offcourse diff of two studies"
NOTHING = "no number of Tables 1 to 3 moves"
BOS = "between models of this kind and others, not a rerun of the same ones: " + RERUN
# Cells of other units are beside the paper's own: other tie rules, shares of ties, p-values.
UNITS = (PERCENT, SHARE, PERCENT_OF)
COLUMNS = ["switch", "change", "table", "row", "column", "before", "after", "claims", "note"]
# before, after: in the table's unit; missing where the switch was not turned. claims: what changes its verdict.
SENSITIVITY = pa.DataFrameSchema(
    {
        "switch": pa.Column(str, pa.Check.isin(list(Protocol.model_fields))),
        "change": pa.Column(str),
        "table": pa.Column(str),
        "row": pa.Column(str),
        "column": pa.Column(str),
        "before": pa.Column(float, nullable=True),
        "after": pa.Column(float, nullable=True),
        "claims": pa.Column(str),
        "note": pa.Column(str),
    },
    strict=True,
    ordered=True,
)

Tables = Mapping[int, pd.DataFrame]


def sensitivity(
    make: Callable[[Protocol, Collection[int]], Tables], protocol: Protocol, cannot: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """A row for every cell that a switch moves, and one for every switch that moves none or cannot be turned.

    make: gives tables (`artefacts.CELLS`) by number, of those that are asked for and can be made, under a protocol.
    protocol: that of the results. cannot: why these results do not let a switch be turned, by switch.
    """
    known = cannot or {}
    before = make(protocol, (1, 2, 3))
    rows = []
    for switch, field in Protocol.model_fields.items():
        now = getattr(protocol, switch)
        other = next(value for value in get_args(field.annotation) if value != now)
        change = f"{now} → {other}"
        if switch not in TURNED or switch in known:
            why = known.get(switch, NOTES.get(switch, RERUN))
            rows.append((switch, change, "", "", "", None, None, "", why))
            continue
        after = make(protocol.model_copy(update={switch: other}), TURNED[switch])
        note, count = NOTES.get(switch, ""), len(rows)
        for number, table in after.items():
            said = "; ".join(_verdicts(number, before[number], table))
            rows += [(switch, change, *cell, said, note) for cell in _moved(number, before[number], table)]
        if len(rows) == count:
            rows.append((switch, change, "", "", "", None, None, "", "; ".join(filter(None, (NOTHING, note)))))
    return _frame(rows)


def by_bos(pairs: pd.DataFrame, adds_bos: Mapping[str, bool], quantiles: Collection[float]) -> pd.DataFrame:
    """Function vectors of models whose tokenizer adds a BOS (`before`) and of the others (`after`), as in Table 3.

    The first ones' mean activations are read at the second-to-last token as published, the others' at the last
    (switch `head_read_position`). pairs: those of Table 3, with `search`, `default`, `few_shot`.
    """
    group = pairs["model"].map(adds_bos).astype(bool)
    counts = [pairs.loc[mine, "model"].nunique() for mine in (group, ~group)]
    change = f"{counts[0]} models add BOS, {counts[1]} do not"
    rows = []
    for row, column in (("FV default", "default"), ("FV search", "search")):
        for quantile in quantiles:
            sides = [_share(pairs[mine & pairs[column].notna()], column, quantile) for mine in (group, ~group)]
            rows.append(("head_read_position", change, "table3", row, f"{quantile:.2f}", *sides, "", BOS))
    return _frame(rows)


def _share(pairs: pd.DataFrame, column: str, quantile: float) -> float | None:
    if pairs.empty:
        return None
    reached = [recovery.reaches(getattr(pair, column), quantile, pair.few_shot) for pair in pairs.itertuples()]
    return 100 * sum(reached) / len(reached)


def _moved(number: int, before: pd.DataFrame, after: pd.DataFrame) -> Iterator[tuple]:
    """The paper's cells that differ, with both values."""
    sides = [_cells(frame) for frame in (before, after)]
    both = pd.concat(sides, axis=1, keys=("before", "after"))
    for (row, column), cell in both.iterrows():
        if not np.isclose(cell["before"], cell["after"], rtol=0, atol=SAME, equal_nan=True):
            yield f"table{number}", row, column, cell["before"], cell["after"]


def _cells(frame: pd.DataFrame) -> pd.Series:
    return frame[frame["unit"].isin(UNITS)].set_index(["row", "column"])["value"]


def _verdicts(number: int, before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """Claims about a table whose verdict differs, each with both."""
    rest = [claim for claim in claims.read_claims() if claim.options.get("table") == str(number)]
    sides = (("before", before), ("after", after))
    sources = {name: claims.study_numbers({number: table}, {}) for name, table in sides}
    decided = [(row["claim"].name, *(row[side]["verdict"] for side in sources)) for row in claims.decide(rest, sources)]
    return [f"{name}: {one} → {other}" for name, one, other in decided if one != other]


def _frame(rows: list[tuple]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=COLUMNS).astype({"before": float, "after": float})
    return SENSITIVITY.validate(frame)
