"""What a cell of a table or a point of a figure was computed from, as the column `sources` says it.

A JSON list of entries, each a selection of rows of one artefact:

role      what the entry is for: `best`, `few_shot`, `base`, `DoLa`, `value`; of a point, the plotted column
group     the model-task pair it belongs to; a role's entries of one group are averaged
artefact  path relative to the study's folder
where     values that select the rows (a list: any of them): for a best-of-grid number the grid point that was chosen
measure   what is averaged over the rows: a column of the artefact, or what `analysis.cells` derives from them
n         number of items (rows, or questions) that the selection has
times     only with protocol selection: halves: how often each item is reported in this setting, in the items' order
"""

import json
from collections.abc import Mapping
from typing import Any

PERCENT, PAIRS = "% of model-task pairs", "pairs"
# Beginnings of the units of what is averaged over questions.
SHARE, PERCENT_OF = "share of questions", "% of questions"
# Of what is averaged over model-task pairs.
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
    """One entry; numpy's scalars become plain numbers. `times` of ones say nothing and are left out."""
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
    """Entries as a table holds them."""
    return json.dumps(entries, ensure_ascii=False)
