"""The fraction of few-shot accuracy that vectors recover, by model and task group (Figures 3 and 12)."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import pandera.pandas as pa
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
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
# Rows of maps, each with the title of every map.
MAPS = (
    {
        ("FV default", "average"): "FV default,\naverage over layers",
        ("FV search", "average"): "FV search,\naverage over layers",
        ("TV", "average"): "TV,\naverage over layers",
    },
    {
        ("FV default", "peak"): "FV default,\npeak",
        ("FV search", "peak"): "FV search,\npeak",
        ("TV", "peak"): "TV,\npeak",
    },
    {(NULLS, "peak"): "FV controls,\npeak", (OTHER, "peak"): "FV search at the\nother position, peak"},
)
# More than all of few-shot accuracy has another hue, up to this recovery and beyond.
MOST = 2.0
# `recovery` is the mean over the `tasks` of the group; missing where nothing was run or few-shot accuracy is 0. `n` is
# the number of items behind one steered accuracy, of the task with the fewest.
NUMBERS = pa.DataFrameSchema(
    {
        "model": pa.Column(str),
        "method": pa.Column(str),
        "measure": pa.Column(str, pa.Check.isin(["average", "peak"])),
        "group": pa.Column(str),
        "recovery": pa.Column(float, nullable=True),
        "tasks": pa.Column(int, pa.Check.gt(0)),
        "n": pa.Column(int, pa.Check.gt(0)),
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
    swept: dict[str, int] = {}
    for task in tasks:
        shots, few_shot = recovery.baseline(read_shots(results, model, task))
        sweep = read_accuracy(results, model, task)
        swept[task] = int(sweep["n"].min())
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
    fewest = {group: min(swept[task] for task in tasks if group_of(task, groups) == group) for group in members}
    return [
        (
            *(model, *key, float(np.mean([value for value, *_ in each])), members[key[2]], fewest[key[2]]),
            listed(*_entries(each)),
        )
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
            fewest = min(read_tv_items(results, model, task, "dev") for task in peak.shots)
            rows.append((model, "TV", measure, group, value, len(peak.shots), fewest, listed(*entries)))
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
    """A heat map per method and measure: a column per method, averages above peaks, controls at the end.

    The number is written in each cell. Colours go from 0 to 1 in one hue and on to 2 in another; a larger value has the
    colour of 2. A grey cell with a dash was not run.
    """
    scopes = {method: view.scope(method) for method in view.methods}
    switches = view.switches("default_heads", "tv_average", "tv_direction")
    controls = view.setting("function_vectors.controls") or ()
    drawn = numbers(view, scopes, view.groups(), switches, controls)
    models = list(dict.fromkeys(model for each, _ in scopes.values() for model in each))
    labels, kinds = view.model_labels(models), list(dict.fromkeys(drawn["group"]))
    there = set(drawn["method"])
    maps = [{key: title for key, title in row.items() if key[0] in there} for row in MAPS]
    maps = [row for row in maps if row]
    columns = max(map(len, maps))
    # Width: labels and colour bar, and the cells. Height: titles, and a row per model.
    width = 2.2 + columns * max(1.3, 0.3 * len(kinds) + 0.08)
    size = (max(4.6, width), 1.95 + len(maps) * (0.35 + (0.22 if len(models) < 10 else 0.155) * len(models)))

    def compose(canvas: FigureBase) -> None:
        panels = canvas.subplots(len(maps), columns, sharey=True, squeeze=False)
        for panel in panels.flat:
            panel.set_visible(False)
        for row, titles in zip(panels, maps, strict=True):
            for panel, ((method, measure), title) in zip(row, titles.items(), strict=False):
                mine = drawn[(drawn["method"] == method) & (drawn["measure"] == measure)]
                wide = mine.pivot(index="model", columns="group", values="recovery")
                cells = wide.reindex(index=models, columns=kinds).to_numpy(float)
                panel.set_visible(True)
                style.heat_map(panel, cells, _colours(), Normalize(0, MOST), _texts(cells), 7)
                panel.set_title(title)
        slanted = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
        for panel in [[panel for panel in column if panel.get_visible()][-1] for column in panels.T]:
            panel.set_xticks(np.arange(len(kinds)) + 0.5, [_of_group(drawn, kind) for kind in kinds], **slanted)
        for panel in panels[:, 0]:
            panel.set_yticks(np.arange(len(models)) + 0.5, labels, rotation=0)
        look = {"pad": 0.02, "aspect": 16, "shrink": min(1, 12 / len(models))}
        shades = ScalarMappable(Normalize(0, MOST), _colours())
        bar = canvas.colorbar(shades, ax=list(panels.flat), label="share of few-shot accuracy", **look)
        bar.outline.set_visible(False)
        bar.set_ticks([0, 0.5, 1, 1.5, 2], labels=["0", "0.5", "1", "1.5", "≥ 2"])
        bar.minorticks_off()
        counts = drawn.groupby(drawn["method"].where(drawn["method"] == "TV", "FV"))["n"].agg(style.span)
        said = ", ".join(f"{method} {items}" for method, items in counts.items())
        style.note(canvas, f"items of a task behind every accuracy: {said}; intervals are in the tables")

    return style.Page(size, drawn, NUMBERS, compose)


def _colours() -> Colormap:
    """From 0 to 1 in greens and blues, from 1 to `MOST` in oranges; both get darker, and 1 is the darkest blue."""
    below, above = style.SHADES, sns.color_palette("YlOrBr", as_cmap=True)
    return ListedColormap([*below(np.linspace(0, 1, 129)), *above(np.linspace(0.3, 0.9, 128))])


def _of_group(drawn: pd.DataFrame, kind: str) -> str:
    tasks = drawn.loc[drawn["group"] == kind, "tasks"].max()
    return task_label(kind) + (f" ({tasks} tasks)" if tasks > 1 else "")


def _texts(cells: np.ndarray) -> np.ndarray:
    """`.36`, `1.50`, or a dash for a missing cell."""
    texts = ["–" if np.isnan(value) else f"{value:.2f}".removeprefix("0") for value in cells.flat]
    return np.array(texts, dtype=object).reshape(cells.shape)
