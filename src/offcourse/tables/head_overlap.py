"""How many of the strongest attention heads two tasks of a model share, by causal indirect effect."""

from itertools import combinations
from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from offcourse.analysis.results import cie_path
from offcourse.analysis.view import ResultsView
from offcourse.data.effects import rank_heads
from offcourse.schemas.function_vectors import CIE
from offcourse.schemas.io import as_table, read_parquet
from offcourse.schemas.released import CIE_SHADES
from offcourse.tables import writing

NAME = "head_overlap"
# Todd et al. (2024) build their vector from ten heads.
STRONGEST = (5, 10, 20)
CAPTION = (
    "Of the heads with the largest causal indirect effect on one task of a model, those that are among the strongest "
    "of another task as well; by chance: as many heads drawn at random."
)
OVERLAP = pa.DataFrameSchema(
    {
        "model": pa.Column(str),
        "task": pa.Column(str),
        "other": pa.Column(str),
        "strongest": pa.Column(int, pa.Check.gt(0)),
        "shared": pa.Column(int, pa.Check.ge(0)),
        "by_chance": pa.Column(float, pa.Check.gt(0)),
    },
    strict=True,
    ordered=True,
    unique=["model", "task", "other", "strongest"],
)


def write(view: ResultsView, out: Path) -> None:
    """Write `head_overlap.parquet`, `.csv` and `.md` into `out`."""
    models, tasks = view.scope("function_vectors")
    rows = []
    for model in models:
        # The release has pages of effects of some tasks only.
        order = {task: strongest_first(view, model, task) for task in tasks if cie_path(model, task) in view}
        rows += [(model, *row) for row in shared(order)]
    frame = as_table(rows, OVERLAP)
    writing.write_plain(out, NAME, "Overlap of heads", CAPTION, frame, OVERLAP, texts(frame))


def strongest_first(view: ResultsView, model: str, task: str) -> list[tuple[int, int]]:
    """(layer, head) by mean effect over trials, the largest first; of equal ones the first layer and head.

    Of the release by shade, which keeps the order of heads to 1/256 of a task's range.
    """
    effects = read_parquet(view / cie_path(model, task), CIE, CIE_SHADES)
    column = "shade" if "shade" in effects else "effect"
    return rank_heads(effects.astype({column: float}), column)


def shared(order: dict[str, list[tuple[int, int]]]) -> list[tuple]:
    """task, other, strongest, shared and by_chance, of every two tasks. order: heads by task, the strongest first."""
    rows = []
    for task, other in combinations(order, 2):
        heads = len(order[task])
        for strongest in (count for count in STRONGEST if count < heads):
            both = set(order[task][:strongest]) & set(order[other][:strongest])
            rows.append((task, other, strongest, len(both), strongest**2 / heads))
    return rows


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as text: means over the pairs of tasks of a model."""
    means = frame.groupby(["model", "strongest"], sort=False)[["shared", "by_chance"]].mean().reset_index("strongest")
    return pd.DataFrame(
        {
            "strongest": means["strongest"].astype(str),
            "shared": [f"{value:.1f}" for value in means["shared"]],
            "by chance": [f"{value:.1f}" for value in means["by_chance"]],
        },
        index=means.index,
    )
