"""Logit lens, function vectors and task vectors by layer, on models that differ (Figure 1)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
import pandera.pandas as pa
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from offcourse.analysis import recovery
from offcourse.analysis.results import (
    Folder,
    icl_path,
    items_by_shots,
    read_accuracy,
    read_lens_means,
    read_shots,
    read_tv_items,
    read_tv_shots,
    read_tv_sweep,
    sweep_path,
    tv_icl_path,
    tv_sweep_path,
)
from offcourse.analysis.sources import listed, source
from offcourse.analysis.truthfulness import wilson_of
from offcourse.analysis.view import ResultsView
from offcourse.figures import style
from offcourse.study.labels import task_label

# The models of the paper's figure, from left to right two that the paper calls unreliable and one of prior work; for
# function vectors with number of heads and strength.
PAPER: dict[str, dict[str, tuple[int, float] | None]] = {
    "logit_lens": {"olmo-7b-0724": None, "qwen2-72b": None, "llama-7b": None},
    "function_vectors": {
        "mistral-7b-v0.3": (16, 2.0),
        "llama-3.1-70b-instruct": (64, 1.0),
        "llama-2-7b": (2, 16.0),
    },
    "task_vectors": {"pythia-6.9b": None, "qwen2.5-7b": None, "gpt-j-6b": None},
}
TASK = "present-past"
MOST = 3
LENS = style.LENS
VECTORS = {
    "steered": ("with the vector, 0-shot", {"color": style.BLUE}),
    "few_shot": ("no vector, {}-shot", style.FEW_SHOT),
    "zero_shot": ("no vector, 0-shot", style.ZERO_SHOT),
}
TITLES = {"logit_lens": "logit lens", "function_vectors": "function vectors", "task_vectors": "task vectors"}
# A row per vertex of the lines. `mean`: mean probability over questions, or mean of hits over items; `ci_low` to
# `ci_high` is its 95% interval, the normal one over questions or Wilson's over items. `on`: the question set or the
# task. `setting`: number of heads and strength of a function vector. `shots`: of accuracy without a vector, else 0.
NUMBERS = pa.DataFrameSchema(
    {
        "method": pa.Column(str, pa.Check.isin(list(TITLES))),
        "model": pa.Column(str),
        "on": pa.Column(str),
        "setting": pa.Column(str),
        "line": pa.Column(str, pa.Check.isin([*LENS, *VECTORS])),
        "layer": pa.Column(int),
        "mean": pa.Column(float, pa.Check.in_range(-1e-5, 1.0001)),
        "ci_low": pa.Column(float),
        "ci_high": pa.Column(float),
        "shots": pa.Column(int),
        "n": pa.Column(int, pa.Check.gt(0)),
        "sources": pa.Column(str),
    },
    strict=True,
    ordered=True,
)


class Row(NamedTuple):
    """One row of panels: the models of a method, and the question set or the tasks that it was run on."""

    models: Sequence[str]
    on: Sequence[str]


def task_of(tasks: Sequence[str]) -> str:
    """The paper's task if the study has it, else the study's first task."""
    return TASK if TASK in tasks else tasks[0]


def chosen(results: Folder, method: str, row: Row) -> list[str]:
    """The models in the panels: the paper's if all are there, else all of up to three, else three that differ most.

    The three have the smallest, the median and the largest peak recovery. For the logit lens, they are the models whose
    top probability rises latest, in the middle and earliest.
    """
    if set(PAPER[method]) <= set(row.models):
        return list(PAPER[method])
    if len(row.models) <= MOST:
        return list(row.models)
    ranked = sorted(row.models, key=lambda model: (_reliability(results, method, model, row.on), model))
    return [ranked[0], ranked[len(ranked) // 2], ranked[-1]]


def _reliability(results: Folder, method: str, model: str, on: Sequence[str]) -> float:
    if method == "logit_lens":
        means = read_lens_means(results, model, on[0])
        top = means[means["line"] == "top"].set_index("layer")["mean"].sort_index()
        return -float(top.diff().idxmax() / top.index.max())
    task = task_of(on)
    if method == "function_vectors":
        _, few_shot = recovery.baseline(read_shots(results, model, task))
        best = read_accuracy(results, model, task)["accuracy"].max()
    else:
        few_shot = float(read_tv_shots(results, model, task).iloc[-1])
        best = read_tv_sweep(results, model, task)["dev"].max()
    return float(best) / few_shot if few_shot > 0 else 0.0


def _lens(results: Folder, model: str, questions: str) -> list[tuple]:
    means, key = read_lens_means(results, model, questions), ("logit_lens", model, questions, "")
    return [
        (*key, row.line, row.layer, row.mean, row.ci_low, row.ci_high, 0, row.n, row.sources)
        for line in LENS
        for row in means[means["line"] == line].itertuples()
    ]


def _function_vectors(results: Folder, model: str, task: str) -> list[tuple]:
    """Rows of a function vector at the paper's setting of the model, else at the setting with the largest accuracy."""
    accuracy = read_accuracy(results, model, task)
    n_heads, strength = PAPER["function_vectors"].get(model) or (0, 0.0)
    mine = accuracy[(accuracy["n_heads"] == n_heads) & (accuracy["strength"] == strength)]
    if mine.empty:
        best = accuracy.loc[accuracy["accuracy"].idxmax()]
        n_heads, strength = int(best["n_heads"]), float(best["strength"])
        mine = accuracy[(accuracy["n_heads"] == n_heads) & (accuracy["strength"] == strength)]
    setting, where = f"{n_heads} heads, strength {strength:g}", {"n_heads": n_heads, "strength": strength}
    shots = read_shots(results, model, task)
    steered = [(row.layer, row.accuracy, row.n) for row in mine.itertuples()]
    few_shot = recovery.baseline(shots)[0]
    return _vector(
        results,
        ("function_vectors", model, task, setting),
        (sweep_path(model, task), where, steered),
        (icl_path(model, task), shots, few_shot),
    )


def _task_vectors(results: Folder, model: str, task: str) -> list[tuple]:
    shots, tried = read_tv_shots(results, model, task), read_tv_items(results, model, task, "dev")
    steered = [(layer, value, tried) for layer, value in read_tv_sweep(results, model, task)["dev"].items()]
    return _vector(
        results,
        ("task_vectors", model, task, ""),
        (tv_sweep_path(model, task), {"split": "dev"}, steered),
        (tv_icl_path(model, task), shots, int(shots.index.max())),
    )


def _vector(results: Folder, key: tuple, swept: tuple, baseline: tuple) -> list[tuple]:
    """Rows of the steered line and of the two horizontal lines, which have a vertex at each end."""
    path, where, steered = swept
    rows = [
        (
            *(*key, "steered", layer, value, *wilson_of(value, n), 0, n),
            listed(source("mean", path, {**where, "layer": layer}, n)),
        )
        for layer, value, n in steered
    ]
    path, shots, few_shot = baseline
    items = items_by_shots(results, path)
    for line, count in (("few_shot", few_shot), ("zero_shot", 0)):
        entry = listed(source("mean", path, {"shots": count}, items.loc[count]))
        value, n = float(shots.loc[count]), int(items.loc[count])
        for layer in (steered[0][0], steered[-1][0]):
            rows.append((*key, line, layer, value, *wilson_of(value, n), int(count), n, entry))
    return rows


def numbers(results: Folder, rows: Mapping[str, Row]) -> pd.DataFrame:
    """The drawn numbers, of schema `NUMBERS`. rows: {method: row of panels}, from top to bottom."""
    read = {"logit_lens": _lens, "function_vectors": _function_vectors, "task_vectors": _task_vectors}
    found = []
    for method, row in rows.items():
        on = row.on[0] if method == "logit_lens" else task_of(row.on)
        for model in chosen(results, method, row):
            found += read[method](results, model, on)
    return pd.DataFrame(found, columns=list(NUMBERS.columns)).astype(
        dict.fromkeys(("mean", "ci_low", "ci_high"), float) | dict.fromkeys(("layer", "shots", "n"), int)
    )


def page(view: ResultsView, shown: style.Shown) -> style.Page:
    """A row of panels per method, a panel per model."""
    drawn = numbers(view, {method: Row(*view.scope(method)) for method in view.methods})
    panels = {method: list(dict.fromkeys(mine["model"])) for method, mine in drawn.groupby("method", sort=False)}
    columns = max(map(len, panels.values()))
    labels = {model: label for models in panels.values() for model, label in _labels(view, models)}

    def compose(canvas: FigureBase) -> None:
        axes = canvas.subplots(len(panels), columns, squeeze=False)
        for row, (method, models) in zip(axes, panels.items(), strict=True):
            mine = drawn[drawn["method"] == method]
            for place, model in zip(row, models, strict=False):
                _panel(place, mine[mine["model"] == model], labels[model])
            for place in row[len(models) :]:
                place.set_visible(False)
            row[0].set_ylabel(f"{TITLES[method]}\n{_on(view, method, mine)}")
        for column in axes.T:
            [place for place in column if place.get_visible()][-1].set_xlabel("layer")
        looks = {**(LENS if "logit_lens" in panels else {}), **(VECTORS if set(panels) - {"logit_lens"} else {})}
        handles = [axes[0, 0].plot([], [], **look)[0] for _, look in looks.values()]
        names = [name.format(shots) for name, _ in looks.values()]
        canvas.legend(handles, names, loc="outside upper center", ncols=min(columns, 3))
        style.note(canvas, "bands: 95% intervals over questions or items")

    shots = style.either(drawn.loc[drawn["line"] == "few_shot", "shots"])
    width = max(4.6, 2.35 * columns + 0.5)
    return style.Page((width, 1.75 * len(panels) + 1.0), drawn, NUMBERS, compose)


def _labels(view: ResultsView, models: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(models, view.model_labels(models), strict=True))


def _on(view: ResultsView, method: str, mine: pd.DataFrame) -> str:
    """The label of a row: its question set or task, and its number of items (0-shot may have another number)."""
    on = mine["on"].iloc[0]
    counts = {line: style.either(points) for line, points in mine.groupby("line")["n"]}
    if method == "logit_lens":
        asked = view.cell("questions", "label", on).replace(", ", ",\n")
        return f"probability\n{asked}\n({counts['top']} questions)"
    bare = f", 0-shot {counts['zero_shot']}" if counts["zero_shot"] != counts["steered"] else ""
    return f"accuracy\n{task_label(on)}\n({counts['steered']} items{bare})"


def _panel(axes: Axes, mine: pd.DataFrame, label: str) -> None:
    for line, points in mine.groupby("line", sort=False):
        _, look = (LENS | VECTORS)[line]
        style.line(axes, points, "layer", "mean", **look)
    setting = mine["setting"].iloc[0]
    axes.set_title(f"{label}\n{setting}" if setting else label)
    last = mine["layer"].max()
    axes.set(xlim=(-0.02 * last - 0.2, 1.02 * last + 0.2), ylim=(-0.04, 1.04), yticks=[0, 0.5, 1])
    axes.set_yticklabels(["0", "0.5", "1"])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=2))
