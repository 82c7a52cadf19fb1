"""Peak recovery by the number of heads in a function vector, and its change by post-training (Figure 5)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pandera.pandas as pa
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import NullLocator

from offcourse.analysis import recovery
from offcourse.analysis.inference import Interval, over_models_and_tasks, student_interval
from offcourse.analysis.results import Folder, icl_path, items_by_shots, read_accuracy, read_shots, sweep_path
from offcourse.analysis.sources import listed, source
from offcourse.analysis.view import ResultsView
from offcourse.figures import style

# The paper's three groups of tasks, with their looks; `CHANGE` is the right panel.
GROUPS = {
    "linguistic and factual": (style.BLUE, "o"),
    "to English": (style.ORANGE, "s"),
    "from English": (style.GREEN, "D"),
}
CHANGE = "post-trained minus base"
# `recovery` is the mean over `n` model-task pairs of the largest accuracy with this number of heads, over strengths and
# layers, as a fraction of few-shot accuracy. In the rows of `CHANGE` it is the mean over `n` pairs of models of a
# change: the post-trained model's mean recovery over its tasks minus the base's over its own tasks, as in the paper.
# `ci_low` to `ci_high` is a 95% interval, missing with one pair: of a group the bootstrap over models and tasks, since
# pairs of one model are alike; of a change Student's over pairs of models.
NUMBERS = pa.DataFrameSchema(
    {
        "group": pa.Column(str, pa.Check.isin([*GROUPS, CHANGE])),
        "n_heads": pa.Column(int),
        "recovery": pa.Column(float),
        "ci_low": pa.Column(float, nullable=True),
        "ci_high": pa.Column(float, nullable=True),
        "n": pa.Column(int, pa.Check.gt(0)),
        "sources": pa.Column(str),
    },
    strict=True,
    ordered=True,
)


class Peak(NamedTuple):
    """Peak recovery of a model and task with one number of heads. tried, few_shot: its entries of `sources`."""

    recovery: float
    tried: dict[str, Any]
    few_shot: dict[str, Any]


def group_of(task: str, groups: Mapping[str, str]) -> str:
    """The group of a task, one of `GROUPS`. groups: {task: group} of tasks.tsv."""
    known = {"to-english": "to English", "from-english": "from English"}
    return known.get(groups[task], "linguistic and factual")


def peaks(results: Folder, model: str, tasks: Sequence[str]) -> dict[tuple[str, int], Peak]:
    """{(task, number of heads): peak recovery}. Tasks with few-shot accuracy 0 have no recovery and are left out."""
    found = {}
    for task in tasks:
        shots, few_shot = recovery.baseline(read_shots(results, model, task))
        items = items_by_shots(results, icl_path(model, task)).loc[shots]
        for n_heads, tried in read_accuracy(results, model, task).groupby("n_heads"):
            value = recovery.peak_recovery(tried, few_shot)
            if np.isnan(value):
                continue
            where, count = {"n_heads": int(n_heads)}, int(tried["n"].sum())
            found[task, int(n_heads)] = Peak(
                value,
                source("tried", sweep_path(model, task), where, count, "peak_recovery", f"{model} {task}"),
                source("few_shot", icl_path(model, task), {"shots": shots}, items, group=f"{model} {task}"),
            )
    return found


def numbers(
    results: Folder,
    models: Sequence[str],
    tasks: Sequence[str],
    groups: Mapping[str, str],
    pairs: Sequence[tuple[str, str]],
) -> pd.DataFrame:
    """The drawn numbers, of schema `NUMBERS`. pairs: (base, post-trained) models among `models`."""
    by_model = {model: peaks(results, model, tasks) for model in models}
    heads = sorted({n_heads for found in by_model.values() for _, n_heads in found})
    rows = []
    for group in GROUPS:
        mine = [task for task in tasks if group_of(task, groups) == group]
        for n_heads in heads:
            found = {
                (model, task): peaks[task, n_heads]
                for model, peaks in by_model.items()
                for task in mine
                if (task, n_heads) in peaks
            }
            entries = [entry for peak in found.values() for entry in (peak.tried, peak.few_shot)]
            values = pd.Series({pair: peak.recovery for pair, peak in found.items()}, dtype=float)
            rows += _row(group, n_heads, values.tolist(), _over_both(values, group, n_heads), entries)
    for n_heads in heads:
        changes, entries = [], []
        for base, post in pairs:
            sides = {
                role: [(t, by_model[m][t, n_heads]) for t in tasks if (t, n_heads) in by_model[m]]
                for role, m in (("base_", base), ("", post))
            }
            if all(sides.values()):
                before, after = (np.mean([peak.recovery for _, peak in side]) for side in sides.values())
                changes.append(float(after - before))
                entries += _sides(f"{base} {post}", sides)
        rows += _row(CHANGE, n_heads, changes, student_interval(np.array(changes)), entries)
    frame = pd.DataFrame(rows, columns=list(NUMBERS.columns))
    numeric = {"n_heads": int, "recovery": float, "ci_low": float, "ci_high": float, "n": int}
    return frame.astype(numeric | {"group": str, "sources": str})


def _over_both(values: pd.Series, group: str, n_heads: int) -> Interval:
    """The interval of a group's mean. values: recovery by (model, task)."""
    if len(values) < 2:
        return Interval(np.nan, np.nan)
    return over_models_and_tasks(values.unstack(), f"peak recovery, {group}, {n_heads} heads")


def _row(group: str, n_heads: int, values: Sequence[float], ends: Interval, entries: Sequence[dict]) -> list[tuple]:
    return [(group, n_heads, float(np.mean(values)), *ends, len(values), listed(*entries))] if values else []


def _sides(pair: str, sides: Mapping[str, Sequence[tuple[str, Peak]]]) -> list[dict[str, Any]]:
    """The entries of `sources` of one change. sides: {prefix of the entries' roles: (task, peak) pairs}."""
    return [
        entry | {"role": f"{prefix}{entry['role']}", "group": task, "pair": pair}
        for prefix, side in sides.items()
        for task, peak in side
        for entry in (peak.tried, peak.few_shot)
    ]


def page(view: ResultsView, shown: style.Shown) -> style.Page:
    """Recovery by group of tasks on the left; its change on the right, if there are pairs of models."""
    models, tasks = view.scope("function_vectors")
    drawn = numbers(view, models, tasks, view.groups(), view.post_training(models))
    seen = [group for group in GROUPS if group in set(drawn["group"])]
    change = drawn[drawn["group"] == CHANGE]
    columns = 2 if len(change) else 1

    def compose(canvas: FigureBase) -> None:
        panels = canvas.subplots(1, columns, squeeze=False)[0]
        heads = sorted(drawn["n_heads"].unique())
        if not seen:
            panels[0].text(0.5, 0.5, "few-shot accuracy is 0", transform=panels[0].transAxes, ha="center", va="center")
            return
        for place, group in enumerate(seen):
            # Marks of one number of heads stand beside each other, so that none hides another's interval.
            shift = 2 ** (0.12 * (place - (len(seen) - 1) / 2))
            _line(panels[0], drawn[drawn["group"] == group], shift, *GROUPS[group], group)
        panels[0].set(title="Recovery of few-shot accuracy", ylabel="peak recovery (1: all of it)")
        highest = drawn.loc[drawn["group"] != CHANGE, ["recovery", "ci_high"]].max().max()
        panels[0].set_ylim(0, 1.05 * max(1.0, highest))
        said = "mean and 95% bootstrap interval over models and tasks; n: pairs"
        if len(change):
            panels[1].axhline(0, color=style.GREY, linewidth=0.8)
            _line(panels[1], change, 1.0, style.INK, "o", None)
            panels[1].set(title="Post-trained minus base", ylabel="change of mean peak recovery")
            pairs = style.span(change["n"])
            over = (
                f"mean and Student's 95% interval over {pairs} pairs of models" if pairs != "1" else "1 pair of models"
            )
            said = f"left: {said}\nright: {over}"
        for panel in panels:
            panel.set_xscale("log", base=2)
            panel.set_xticks(heads, map(str, heads))
            panel.xaxis.set_minor_locator(NullLocator())
            panel.set_xlabel("number of heads (log scale)")
        canvas.legend(loc="outside upper center", ncols=3 if columns == 2 else 2, handlelength=2.2)
        style.note(canvas, said)

    size = 3.4 * columns + 1.0 * (columns == 1), 3.4
    return style.Page(size, drawn, NUMBERS, compose, common="xy")


def _line(axes: Axes, points: pd.DataFrame, shift: float, colour: str, marker: str, label: str | None) -> None:
    at = points.assign(n_heads=points["n_heads"] * shift)
    axes.vlines(at["n_heads"], at["ci_low"], at["ci_high"], color=colour, linewidth=1.2, alpha=0.7)
    name = {"label": f"{label} (n = {style.span(points['n'])})"} if label else {}
    style.line(axes, at.drop(columns=["ci_low", "ci_high"]), "n_heads", "recovery", color=colour, marker=marker, **name)
