"""What DoLa in its best setting changes of each metric, question by question."""

from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from offcourse.analysis import inference, truthfulness
from offcourse.analysis.results import read_dola
from offcourse.analysis.view import ResultsView
from offcourse.schemas.io import as_table
from offcourse.tables import writing
from offcourse.tables.dola import NAMES
from offcourse.tables.dola_runs import METRICS, DolaRun, measure, run_of

NAME = "dola_changes"
CAPTION = (
    "What DoLa in its best setting changes of each metric: mean over questions of the difference from the base model, "
    "with a 95 % interval from resampled questions, which are the same on both sides."
)
# change: of a share of questions, in the setting of Tables 1 and 2.
CHANGES = pa.DataFrameSchema(
    {
        "model": pa.Column(str),
        "questions": pa.Column(str),
        "metric": pa.Column(str, pa.Check.isin(list(NAMES.values()))),
        "change": pa.Column(float, pa.Check.in_range(-1, 1)),
        "ci_low": pa.Column(float, nullable=True),
        "ci_high": pa.Column(float, nullable=True),
        "n": pa.Column(int, pa.Check.gt(0)),
    },
    strict=True,
    ordered=True,
    unique=["model", "questions", "metric"],
)


def write(view: ResultsView, out: Path) -> None:
    """Write `dola_changes.parquet`, `.csv` and `.md` into `out`."""
    removed, shared = view.switch("dola_mask") == "removed", view.switch("ties") == "shared"
    exact, selected = view.switch("score_dtype") == "float64", view.switch("selection")
    rows = []
    for name, form in view.forms("dola"):
        for model in view.models("dola"):
            metrics = truthfulness.per_question(read_dola(view, model, name), removed, exact)
            run = run_of(view, model, name, form, metrics, shared, selected, removed, exact)
            rows += [change(run, metric, measure(metric, shared)) for metric in METRICS[form]]
    frame = as_table(rows, CHANGES)
    writing.write_plain(out, NAME, "Changes by DoLa", CAPTION, frame, CHANGES, texts(frame))


def change(run: DolaRun, metric: str, column: str) -> tuple:
    """The row of one model, question set and metric; column: that of `DolaRun.metrics`."""
    base = run.values(lambda _: ("", 0.0, "base"), column)
    values = (run.values(run.best, column) - base).mean(0)
    low, high = np.nan, np.nan
    if len(values) > 1 and not np.isnan(values).any():
        low, high = inference.difference_over_items(values, run.questions, metric)
    return run.model, run.questions, NAMES[metric], float(values.mean()), low, high, len(values)


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as text: models and question sets by metrics."""
    said = [
        f"{row.change:+.4f}" + ("" if np.isnan(row.ci_low) else f" [{row.ci_low:.4f}, {row.ci_high:.4f}]")
        for row in frame.itertuples()
    ]
    form = frame.assign(text=said).pivot(index=["model", "questions"], columns="metric", values="text")
    form = form.reindex(columns=[name for name in NAMES.values() if name in form]).fillna("").reset_index("questions")
    return form.loc[list(dict.fromkeys(frame["model"]))].rename_axis(index="model", columns=None)
