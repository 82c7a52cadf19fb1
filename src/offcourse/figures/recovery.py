"""The fraction of few-shot accuracy that vectors recover, by model and task group (Figures 3 and 12)."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import pandera.pandas as pa
from matplotlib.figure import FigureBase

from offcourse.analysis import recovery
from offcourse.analysis.results import (
    Folder,
    controls_path,
    icl_path,
    items_by_shots,
    read_accuracy,
    read_control_accuracy,
    read_model,
    read_shots,
    read_tv_items,
    read_tv_sweep,
    sweep_path,
    tv_icl_path,
    tv_sweep_path,
)
from offcourse.analysis.sources import listed, source
from offcourse.analysis.task_vectors import by_group
from offcourse.analysis.view import ResultsView
from offcourse.data.rows import is_large
from offcourse.figures import style
from offcourse.schemas.function_vectors import READ_POSITION
from offcourse.study.labels import task_label

DEFAULT_STRENGTH = 1.0
# {protocol's `default_heads`: numbers of heads of the default setting for (small, large) models}. Under `maximum` the
# list differs from that of Table 3, as in the authors' code.
DEFAULT_HEADS = {"maximum": ((2, 16), (2, 64)), "single": ((16,), (64,))}
# In a study with controls: the best of the same grid, averaged over the controls that should do nothing and their
# draws; and the function vector read at the other position.
NULLS, OTHER = "controls", "FV search, other read position"
PANELS = {
    ("FV default", "average"): "FV default, average",
    ("FV default", "peak"): "FV default, peak",
    ("FV search", "average"): "FV search, average",
    ("FV search", "peak"): "FV search, peak",
    (NULLS, "peak"): "controls, peak",
    (OTHER, "peak"): "FV search\nother position, peak",
    ("TV", "average"): "TV, average",
    ("TV", "peak"): "TV, peak",
}
# `recovery` is the mean over the `tasks` of the group; missing where nothing was run or few-shot accuracy is 0.
NUMBERS = pa.DataFrameSchema(
    {
        "model": pa.Column(str),
        "method": pa.Column(str),
        "measure": pa.Column(str, pa.Check.isin(["average", "peak"])),
        "group": pa.Column(str),
        "recovery": pa.Column(float, nullable=True),
        "tasks": pa.Column(int, pa.Check.gt(0)),
        "sources": pa.Column(str),
    },
    strict=True,
    ordered=True,
)


def group_of(task: str, groups: Mapping[str, str]) -> str:
    """The group of a task: translations are grouped by direction, every other task is a group of its own."""
    return groups[task] if groups[task].endswith("english") else task


def function_vectors(
    results: Folder,
    model: str,
    tasks: Sequence[str],
    groups: Mapping[str, str],
    default_heads: str,
    controls: Sequence[str] = (),
) -> list[tuple]:
    """The rows of one model, of schema `NUMBERS`: Eq. 7 and 8 of every task, averaged over the tasks of a group."""
    heads = DEFAULT_HEADS[default_heads][is_large(read_model(results, model)["parameters"])]
    found: dict[tuple, list[tuple[float, dict, dict]]] = {}
    for task in tasks:
        shots, few_shot = recovery.baseline(read_shots(results, model, task))
        sweep = read_accuracy(results, model, task)
        default = sweep[(sweep["strength"] == DEFAULT_STRENGTH) & sweep["n_heads"].isin(heads)]
        items = items_by_shots(results, icl_path(model, task)).loc[shots]
        few = source("few_shot", icl_path(model, task), {"shots": shots}, items, group=task)
        for method, tried in (("FV default", default), ("FV search", sweep)):
            where = {"n_heads": sorted(set(tried["n_heads"].tolist())), "strength": sorted(set(tried["strength"]))}
            for measure, of in (("average", recovery.average_recovery), ("peak", recovery.peak_recovery)):
                path, count = sweep_path(model, task), int(tried["n"].sum())
                entry = source("tried", path, where, count, f"{measure}_recovery", group=task)
                value = of(tried, few_shot) if len(tried) else float("nan")
                found.setdefault((method, measure, group_of(task, groups)), []).append((value, entry, few))
        for method, tried, path, where in _swept_again(results, model, task, controls):
            # The best is taken within each draw, whose grid is as large as the function vector's.
            own = " ".join(map(str, (task, *where.values())))
            entry = source("tried", path, where, int(tried["n"].sum()), "peak_recovery", group=own)
            value = recovery.peak_recovery(tried, few_shot)
            key = method, "peak", group_of(task, groups)
            found.setdefault(key, []).append((value, entry, {**few, "group": own}))
    members = {group: sum(group_of(task, groups) == group for task in tasks) for _, _, group in found}
    return [
        (model, *key, float(np.mean([value for value, *_ in each])), members[key[2]], listed(*_entries(each)))
        for key, each in found.items()
    ]


def _swept_again(
    results: Folder, model: str, task: str, controls: Sequence[str]
) -> Iterator[tuple[str, pd.DataFrame, str, dict]]:
    """(method, accuracies, artefact, selection of its rows) of every draw of every control of one pair."""
    if not controls:
        return
    swept, path = read_control_accuracy(results, model, task), controls_path(model, task)
    for (control, draw), mine in swept.groupby(["control", "draw"], sort=False):
        yield OTHER if control == READ_POSITION else NULLS, mine, path, {"control": control, "draw": int(draw)}


def _entries(each: Sequence[tuple]) -> list[dict]:
    return [entry for _, *entries in each for entry in entries]


def task_vectors(
    results: Folder, model: str, tasks: Sequence[str], groups: Mapping[str, str], switches: Mapping[str, str]
) -> list[tuple]:
    """The rows of task vectors. Under `mean_times_maximum` the average is mean x maximum / few-shot accuracy."""
    rows, coded = [], switches["tv_average"] == "mean_times_maximum"
    for group, peak in by_group(results, model, tasks, groups, switches["tv_direction"]).items():
        average = peak.mean * peak.best if coded else peak.mean
        average = average / peak.few_shot if peak.few_shot > 0 else float("nan")
        measured = {"average": "mean_times_maximum" if coded else "average_recovery", "peak": "peak_recovery"}
        # Accuracies of a group are averaged before the best layer is chosen.
        read = [(task, shots, *_items(results, model, task, shots)) for task, shots in peak.shots.items()]
        for measure, value in (("average", average), ("peak", peak.recovery)):
            entries = []
            for task, shots, tried, items in read:
                sweep, path = tv_sweep_path(model, task), tv_icl_path(model, task)
                entries.append(source("tried", sweep, {"split": "dev"}, tried, measured[measure], group))
                entries.append(source("few_shot", path, {"shots": shots}, items, group=group))
            rows.append((model, "TV", measure, group, value, len(peak.shots), listed(*entries)))
    return rows


def _items(results: Folder, model: str, task: str, shots: int) -> tuple[int, int]:
    """(number of development items over all layers, number of items at `shots` shots)."""
    layers = read_tv_sweep(results, model, task)["dev"].count()
    items = items_by_shots(results, tv_icl_path(model, task)).loc[shots]
    return int(layers) * read_tv_items(results, model, task, "dev"), int(items)


def numbers(
    results: Folder,
    scopes: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    groups: Mapping[str, str],
    switches: Mapping[str, str],
    controls: Sequence[str] = (),
) -> pd.DataFrame:
    """The drawn numbers, of schema `NUMBERS`.

    scopes: {method: (models, tasks)}. switches: the protocol's `default_heads`, `tv_average` and `tv_direction`.
    controls: names of the study's controls.
    """
    rows = []
    if "function_vectors" in scopes:
        models, tasks = scopes["function_vectors"]
        heads = switches["default_heads"]
        rows += [row for model in models for row in function_vectors(results, model, tasks, groups, heads, controls)]
    if "task_vectors" in scopes:
        models, tasks = scopes["task_vectors"]
        rows += [row for model in models for row in task_vectors(results, model, tasks, groups, switches)]
    return pd.DataFrame(rows, columns=list(NUMBERS.columns)).astype({"recovery": float})


def page(view: ResultsView, shown: style.Shown) -> style.Page:
    """A heat map per method and measure, side by side.

    Colours go from 0 to 1; a larger value has the colour of 1, and its number is written in the cell. A grey cell with
    a dash was not run.
    """
    scopes = {method: view.scope(method) for method in view.methods}
    switches = view.switches("default_heads", "tv_average", "tv_direction")
    controls = view.setting("function_vectors.controls") or ()
    drawn = numbers(view, scopes, view.groups(), switches, controls)
    models = list(dict.fromkeys(model for each, _ in scopes.values() for model in each))
    labels, kinds = view.model_labels(models), list(dict.fromkeys(drawn["group"]))
    panels_of = [key for key in PANELS if key[0] in set(drawn["method"])]
    # Width: labels and colour bar, and the cells. Height: titles, and a row per model.
    size = (2.0 + len(panels_of) * max(0.62, 0.24 * len(kinds)), 1.75 + 0.2 * len(models))

    def compose(canvas: FigureBase) -> None:
        panels = canvas.subplots(1, len(panels_of), sharey=True, squeeze=False)[0]
        for panel, key in zip(panels, panels_of, strict=True):
            mine = drawn[(drawn["method"] == key[0]) & (drawn["measure"] == key[1])]
            cells = mine.pivot(index="model", columns="group", values="recovery").reindex(index=models, columns=kinds)
            image = _heat_map(panel, cells.to_numpy())
            panel.set_title(PANELS[key].replace(", ", "\n"))
            slanted = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
            panel.set_xticks(np.arange(len(kinds)) + 0.5, map(task_label, kinds), **slanted)
        panels[0].set_yticks(np.arange(len(models)) + 0.5, labels)
        look = {"pad": 0.01, "aspect": 14, "shrink": min(1, 12 / len(models))}
        bar = canvas.colorbar(image, ax=list(panels), label="share of\nfew-shot accuracy", **look)
        bar.outline.set_visible(False)
        bar.set_ticks([0, 0.5, 1], labels=["0", "0.5", "≥ 1"])

    return style.Page(size, drawn, NUMBERS, compose)


def _heat_map(panel, cells: np.ndarray):
    panel.set_facecolor(style.BLANK)
    image = panel.pcolormesh(
        np.ma.masked_invalid(cells), cmap=style.SHADES, vmin=0, vmax=1, edgecolor="white", linewidth=0.5
    )
    for (row, column), value in np.ndenumerate(cells):
        if np.isnan(value):
            text, ink = "–", "#333333"
        else:
            text, ink = f"{value:.2f}".removeprefix("0"), style.ink_on(style.SHADES(min(1.0, value)))
        panel.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=ink, fontsize=5.5)
    panel.grid(False)
    panel.set(xlim=(0, cells.shape[1]), ylim=(cells.shape[0], 0))
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    return image
