"""The table of each method's effect on each model (`analysis.steering_summary`), written as parquet, csv and md."""

from pathlib import Path

import pandas as pd

from offcourse.analysis.steering_summary import SUMMARY, steering_summary
from offcourse.analysis.view import ResultsView
from offcourse.tables import writing

NAME = "steering_summary"
CAPTION = (
    "What steers each model, at which setting, and how sure that is. p-values are corrected by Holm's procedure over "
    "the rows of a method. `chance`: accuracy of always predicting the commonest first token of the evaluated answers; "
    "`targets`: how many different first tokens they have."
)


def write(view: ResultsView, out: Path) -> None:
    """Write `steering_summary.parquet`, `.csv` and `.md` into `out`, see `analysis.steering_summary`."""
    frame = steering_summary(view, view.scope("function_vectors"), view.scope("task_vectors"), view.tables)
    writing.write_plain(out, NAME, "Steering", CAPTION, frame, SUMMARY, texts(frame))


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The printed table, all text."""
    shares = ("unsteered", "steered", "few_shot", "chance")
    places = zip(frame["layer"], frame["layers"], strict=True)
    form = frame.assign(
        targets=["" if pd.isna(count) else f"{count:.0f}" for count in frame["targets"]],
        layer=["" if pd.isna(layer) else f"{layer:.0f} of {count}" for layer, count in places],
        **{name: ["" if pd.isna(share) else f"{100 * share:.0f}%" for share in frame[name]] for name in shares},
        **{name: [f"{p:.2g}" for p in frame[name]] for name in ("p", "p_holm")},
    )
    return form.drop(columns="layers").set_index("model")
