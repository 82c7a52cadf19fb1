"""The logit lens by layer, a panel per model (Figures 2, 6 and 7)."""

from collections.abc import Sequence

import pandas as pd
import pandera.pandas as pa

from offcourse.analysis.results import Folder, read_lens_means
from offcourse.analysis.view import ResultsView
from offcourse.figures import by_model, style

LINES = style.LENS
# A mean over questions and its 95 % interval.
NUMBERS = pa.DataFrameSchema(
    {
        "model": pa.Column(str),
        "questions": pa.Column(str),
        "layer": pa.Column(int),
        "line": pa.Column(str, pa.Check.isin(list(LINES))),
        "mean": pa.Column(float, pa.Check.in_range(-1e-5, 1.0001)),
        "ci_low": pa.Column(float),
        "ci_high": pa.Column(float),
        "n": pa.Column(int, pa.Check.gt(0)),
        "sources": pa.Column(str),
    },
    strict=True,
    ordered=True,
)


def numbers(results: Folder, models: Sequence[str], questions: str) -> pd.DataFrame:
    """Mean probability by model, layer and line, see `NUMBERS`."""
    parts = []
    for model in models:
        means = read_lens_means(results, model, questions)
        parts.append(means.assign(model=model, questions=questions))
    return pd.concat(parts, ignore_index=True)[list(NUMBERS.columns)]


def page(view: ResultsView, shown: style.Shown) -> style.Page:
    """Lines of probability against layer; the last layer is the model's own output."""
    models, _ = view.scope("logit_lens")
    drawn, labels = numbers(view, models, shown["questions"]), view.model_labels(models)
    on = view.cell("questions", "label", shown["questions"])
    said = f"mean and 95% interval over {style.span(drawn['n'])} questions of {on}"
    axes = "layer (the last is the output)", "probability"
    return by_model.page(models, labels, drawn, NUMBERS, LINES, "mean", axes, said)
