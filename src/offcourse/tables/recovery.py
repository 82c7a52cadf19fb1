"""What every vector recovers, pair by pair of model and task: the numbers that claims on vectors rest on."""

from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from offcourse.analysis import recovery, task_vectors
from offcourse.analysis.results import read_accuracy, read_shots, read_tv_shots, read_tv_sweep
from offcourse.analysis.view import ResultsView
from offcourse.schemas.io import typed
from offcourse.tables import table3, writing

NAME = "recovery"
CAPTION = (
    "Accuracy with a function or task vector beside few-shot accuracy, of every model and task. Peak: the best layer, "
    "and the best setting where there are several; average: the mean over layers of the best setting."
)
DEFAULT, SEARCH, BY_HEADS, TASK = "FV default", "FV search", "FV heads", "TV"
# peak, average: accuracies (no average of the default setting). few_shot: what Table 3 divides by, which the protocol
# may leave over from another model; own_few_shot: the pair's own. n_heads: of the rows BY_HEADS, 0 elsewhere.
RECOVERY = pa.DataFrameSchema(
    {
        "model": pa.Column(str),
        "task": pa.Column(str),
        "group": pa.Column(str),
        "method": pa.Column(str, pa.Check.isin([DEFAULT, SEARCH, BY_HEADS, TASK])),
        "n_heads": pa.Column(int, pa.Check.ge(0)),
        "peak": pa.Column(float, pa.Check.in_range(0, 1)),
        "average": pa.Column(float, pa.Check.in_range(0, 1), nullable=True),
        "few_shot": pa.Column(float, pa.Check.in_range(0, 1)),
        "own_few_shot": pa.Column(float, pa.Check.in_range(0, 1)),
    },
    strict=True,
    ordered=True,
    unique=["model", "task", "method", "n_heads"],
)


def write(view: ResultsView, out: Path) -> None:
    """Write `recovery.parquet`, `.csv` and `.md` into `out`, with the rows of every method that the folder has."""
    rows, before, groups = [], None, view.groups()
    if "function_vectors" in view.methods:
        how = view.switch("default_heads"), view.switch("selection")
        pairs = table3.read_pairs(view, *view.scope("function_vectors"), *how)
        before = table3.left_over(view, *view.scope("function_vectors"), view.known("last"))
        rows += [row for pair in pairs.itertuples() for row in _function_vector(view, pair)]
    if "task_vectors" in view.methods:
        switches = view.switches("tv_denominator", "tv_direction", "tv_score")
        pairs = task_vectors.read_pairs(view, *view.scope("task_vectors"), groups, switches, before)
        rows += [_task_vector(view, pair) for pair in pairs.itertuples()]
    columns = [name for name in RECOVERY.columns if name != "group"]
    frame = pd.DataFrame(rows, columns=columns)
    frame.insert(2, "group", frame["task"].map(groups))
    writing.write_plain(out, NAME, "Recovery", CAPTION, typed(frame, RECOVERY), RECOVERY, texts(frame))


def _function_vector(view: ResultsView, pair) -> list[tuple]:
    """Rows of one pair: the default setting where the sweep has one, the whole search, and each number of heads."""
    accuracy = read_accuracy(view, pair.model, pair.task)
    _, few_shot = recovery.baseline(read_shots(view, pair.model, pair.task))
    rows = [] if np.isnan(pair.default) else [(DEFAULT, 0, pair.default, np.nan)]
    # Column average: the largest mean over layers that a setting has (the numerator of Eq. 8).
    averages = recovery.over_layers(accuracy)
    rows.append((SEARCH, 0, pair.search, float(averages.max())))
    by_heads = averages.groupby("n_heads").max()
    for n_heads, peak in accuracy.groupby("n_heads")["accuracy"].max().items():
        rows.append((BY_HEADS, int(n_heads), float(peak), float(by_heads[n_heads])))
    return [(pair.model, pair.task, *row, pair.few_shot, few_shot) for row in rows]


def _task_vector(view: ResultsView, pair) -> tuple:
    shots = read_tv_shots(view, pair.model, pair.task)
    average = float(read_tv_sweep(view, pair.model, pair.task)["dev"].mean())
    own = float(shots.loc[shots.index.max()])
    return pair.model, pair.task, TASK, 0, pair.best, average, pair.few_shot, own


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as text: a row per pair, what each method recovers at its peak and on average; no rows by heads."""
    shown = frame[frame["method"] != BY_HEADS]
    form = pd.DataFrame(
        {
            "task": shown["task"],
            "method": shown["method"],
            "few-shot": [f"{value:.2f}" for value in shown["few_shot"]],
            "peak": [f"{value:.2f}" for value in shown["peak"]],
            "average": ["" if pd.isna(value) else f"{value:.2f}" for value in shown["average"]],
        }
    )
    return form.set_index(shown["model"].rename("model"))
