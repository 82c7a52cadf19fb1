"""Peak recovery by task vectors, post-trained minus base, by task group (Figure 16)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pandera.pandas as pa
from matplotlib.figure import FigureBase

from offcourse.analysis.inference import student_interval
from offcourse.analysis.results import Folder, items_by_shots, read_tv_items, tv_icl_path, tv_sweep_path
from offcourse.analysis.sources import listed, source
from offcourse.analysis.task_vectors import Peak, by_group
from offcourse.analysis.view import ResultsView
from offcourse.figures import style
from offcourse.study.labels import task_label

# A mean over `pairs` of models and its Student 95 % interval, missing with a single pair.
NUMBERS = pa.DataFrameSchema(
    {
        "group": pa.Column(str),
        "change": pa.Column(float, nullable=True),
        "ci_low": pa.Column(float, nullable=True),
        "ci_high": pa.Column(float, nullable=True),
        "pairs": pa.Column(int, pa.Check.ge(0)),
        "sources": pa.Column(str),
    },
    strict=True,
    ordered=True,
)


def numbers(
    results: Folder,
    pairs: Sequence[tuple[str, str]],
    tasks: list[str],
    groups: Mapping[str, str],
    tv_direction: str,
) -> pd.DataFrame:
    """Mean change by task group, see `NUMBERS`. A pair whose recovery is undefined is left out and not counted."""
    changes: dict[str, list[float]] = {}
    sources: dict[str, list[dict]] = {}
    for base, post in pairs:
        before, after = (by_group(results, model, tasks, groups, tv_direction) for model in (base, post))
        for group in before:
            change = after[group].recovery - before[group].recovery
            changes.setdefault(group, []).append(change)
            sources.setdefault(group, [])
            if not np.isnan(change):
                for role, model, peak in (("base", base, before[group]), ("post", post, after[group])):
                    sources[group] += _sources(results, role, model, peak, f"{base} {post}")
    rows = []
    for group, values in changes.items():
        known = np.array([value for value in values if not np.isnan(value)])
        mean = known.mean() if len(known) else float("nan")
        low, high = student_interval(known)
        rows.append((group, mean, low, high, len(known), listed(*sources[group])))
    return pd.DataFrame(rows, columns=list(NUMBERS.columns)).astype(
        {"change": float, "ci_low": float, "ci_high": float}
    )


def _sources(results: Folder, role: str, model: str, peak: Peak, pair: str) -> list[dict]:
    """The entries of `sources` of one side of a change (base or post-trained)."""
    entries = []
    for task, shots in peak.shots.items():
        where, path = {"split": "dev", "layer": peak.layer}, tv_icl_path(model, task)
        tried, items = read_tv_items(results, model, task, "dev"), items_by_shots(results, path)
        entries.append(source(f"{role}_best", tv_sweep_path(model, task), where, tried, group=pair))
        entries.append(source(f"{role}_few_shot", path, {"shots": shots}, items.loc[shots], group=pair))
    return entries


def page(view: ResultsView, shown: style.Shown) -> style.Page:
    """A dot per task group, from top to bottom."""
    models, tasks = view.scope("task_vectors")
    pairs = view.post_training(models)
    drawn = numbers(view, pairs, tasks, view.groups(), view.switch("tv_direction"))
    count = len(pairs)

    def compose(canvas: FigureBase) -> None:
        panel = canvas.subplots()
        y = np.arange(len(drawn))
        panel.axvline(0, color=style.GREY, linewidth=0.8)
        panel.hlines(y, drawn["ci_low"], drawn["ci_high"], color=style.BLUE, linewidth=1.4, alpha=0.6)
        look = {"color": style.BLUE, "marker": "o", "markersize": 5, "linestyle": "none"}
        style.line(panel, drawn[["change"]].assign(y=y), "change", "y", **look)
        panel.set_yticks(y, [f"{task_label(row.group)} (n = {row.pairs})" for row in drawn.itertuples()])
        panel.set_ylim(len(drawn) - 0.5, -0.5)
        panel.grid(axis="y", visible=False)
        panel.set_xlabel("change of peak recovery, post-trained minus base")
        spread = "mean and Student's 95% interval over n pairs of models"
        style.note(canvas, spread if count > 1 else "1 pair of models")

    return style.Page((5.0, 1.25 + 0.36 * len(drawn)), drawn, NUMBERS, compose, common="x")
