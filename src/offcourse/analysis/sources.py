"""The column `sources`: the results from which a cell of a table or a point of a figure was computed.

`sources` is a JSON list of entries. An entry selects rows of one artefact:

role      the part of the computation: `best`, `few_shot`, `base`, `DoLa`, `value`; for a point, the plotted column
group     the model-task pair of the entry; entries with one role and one group are averaged
artefact  path relative to the study's folder
where     {column: value} that selects the rows (a list: any of its values); for a best-of-grid number, the chosen point
measure   the number that is averaged over the rows: a column, or a quantity that `analysis.cells` derives from columns
n         number of selected items (rows, or questions)
times     only with protocol `selection: halves`: how often each item is reported in this setting, in the items' order
"""

import json
from collections.abc import Mapping
from typing import Any

PERCENT, PAIRS = "% of model-task pairs", "pairs"
# Beginnings of the units of numbers that are averaged over questions.
SHARE, PERCENT_OF = "share of questions", "% of questions"
# Beginning of the unit of a difference of two such numbers, of the roles `steered` and `against`.
CHANGE = "change in share of questions"
# The unit of a number that is averaged over model-task pairs.
ACCURACY = "mean accuracy"
P_VALUE, ALPHA, DEPTH, FACT = "p-value", "alpha", "% of depth", "fact"


def source(
    role: str,
    artefact: str,
    where: Mapping[str, Any],
    n: int,
    measure: str = "hit",
    group: str = "",
    times: list[int] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """One entry; numpy's scalars become plain numbers, and `times` is left out when every item counts once."""
    if times is not None and set(times) != {1}:
        more["times"] = times
    plain = {key: value.item() if hasattr(value, "item") else value for key, value in where.items()}
    return {
        "role": role,
        "group": group,
        "artefact": artefact,
        "where": plain,
        "measure": measure,
        "n": int(n),
        **more,
    }


def listed(*entries: Mapping[str, Any]) -> str:
    """Entries as the JSON text of the column `sources`."""
    return json.dumps(entries, ensure_ascii=False)
