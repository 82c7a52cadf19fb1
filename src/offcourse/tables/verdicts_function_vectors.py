"""The table of verdicts on function vectors, beside prompting and controls (`analysis.benefits`)."""

from pathlib import Path

import numpy as np

from offcourse.analysis import recovery
from offcourse.analysis.results import controls_path, has, read_shots
from offcourse.analysis.steering_summary import paired_hits
from offcourse.analysis.verdicts import LEVEL, MARGIN, compared, halves, held_out, prompted, same_items
from offcourse.analysis.view import ResultsView
from offcourse.schemas.function_vectors import FV_CONTROLS, NULL_CONTROLS
from offcourse.schemas.io import read_parquet
from offcourse.tables.benefits import write_verdicts

NAME, LABEL = "verdicts_function_vectors", "Function vectors"
CAPTION = (
    "What function vectors do to each model on each task. Accuracies with a vector are held out: head count, strength "
    "and layer are chosen on one half of the items and reported on the other. Numbers in brackets are 95% intervals."
)
NOTES = [
    f"No better than luck or prompting: the upper end of the difference is below {MARGIN:g}. Cannot be told with this "
    "many items: the items are too few for any of the other words.",
    "Harm is not measured for function vectors. So where they are better than luck and than prompting "
    f"(p < {LEVEL:g}, Holm over the rows), they are not said to work.",
    "Luck is the best of the controls that should do nothing and of doing nothing; without controls it is the largest "
    "gain of a grid of this size that does nothing. Prompting is the better of demonstrations and an instruction.",
]


def write(view: ResultsView, out: Path) -> None:
    """Write `verdicts_function_vectors.parquet`, `.csv` and `.md` into `out`, see `analysis.benefits`."""
    models, tasks = view.scope("function_vectors")
    rows = [row_of(view, model, task) for model in models for task in tasks]
    write_verdicts(out, NAME, "Verdicts on function vectors", CAPTION, rows, NOTES)


def row_of(view: ResultsView, model: str, task: str) -> dict:
    """The numbers of one model and task."""
    base, swept = paired_hits(view, model, task)
    items, repeated = swept.columns, halves(task, swept.shape[1])
    shots, few_shot = recovery.baseline(read_shots(view, model, task))
    prompting = held_out(prompted(view, model, task, shots, items), repeated)
    found = {"model": model, "method": LABEL, "on": task, "measure": "accuracy", "few_shot": few_shot}
    luck = None
    if has(view, path := controls_path(model, task)):
        table = read_parquet(view / path, FV_CONTROLS)
        table = table[table["control"].isin(NULL_CONTROLS)]
        if len(table):
            axes = ["control", "draw", *swept.index.names]
            hits = same_items(table.pivot(index=axes, columns="item", values="hit").sort_index(), items, path)
            luck = held_out(np.concatenate([base[None], hits]), repeated)
            found["control"] = held_out(hits, repeated).mean()
    grid = swept.to_numpy(float)
    n_heads, strength, layer = swept.index[grid.sum(1).argmax()]
    found["setting"] = f"{n_heads} heads, strength {strength:g}, layer {layer}"
    return found | compared(base, grid, held_out(grid, repeated), prompting, task, luck)
