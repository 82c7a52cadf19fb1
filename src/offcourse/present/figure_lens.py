"""The logit lens by layer, a panel per model (Figures 2, 6 and 7)."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pandera.pandas as pa
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from offcourse.analysis.results import read_labels, read_lens_means
from offcourse.present import style

LINES = {
    "top": ("most likely token", style.GREY),
    "correct": ("right letter", style.BLUE),
    "incorrect": ("likeliest wrong letter", style.ORANGE),
}
# Mean over questions, and its 95% interval.
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


def numbers(results: Path, models: Sequence[str], questions: str) -> pd.DataFrame:
    """Mean probability by model, layer and line, see `NUMBERS`."""
    parts = []
    for model in models:
        means = read_lens_means(results, model, questions)
        parts.append(means.assign(model=model, questions=questions))
    return pd.concat(parts, ignore_index=True)[list(NUMBERS.columns)]


def draw(results: Path, models: Sequence[str], questions: str, stem: Path) -> None:
    """Lines of probability against layer; the last layer is the model's own output."""
    drawn = numbers(results, models, questions)
    columns = min(2, len(models))
    rows = -(-len(models) // columns)
    with style.applied():
        figure = Figure(figsize=(max(4.8, 3.1 * columns + 0.4), 2.1 * rows + 0.9), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for panel, model, label in zip(panels.flat, models, read_labels(results, models), strict=False):
            mine = drawn[drawn["model"] == model]
            for line, (name, colour) in LINES.items():
                points = mine[mine["line"] == line].sort_values("layer")
                panel.fill_between(points["layer"], points["ci_low"], points["ci_high"], color=colour, alpha=0.2, lw=0)
                panel.plot(points["layer"], points["mean"], color=colour, label=name)
            panel.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
            panel.set(title=label, ylim=(-0.02, 1.02), xlim=(0, mine["layer"].max()))
        for panel in list(panels.flat)[len(models) :]:
            panel.set_visible(False)
        count = drawn["n"].max()
        figure.supxlabel(f"layer (the last is the output); mean and 95% interval over {count} questions")
        figure.supylabel("probability")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3)
        style.save(figure, drawn, NUMBERS, stem)
