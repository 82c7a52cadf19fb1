"""The table of steering methods: accuracy at the best layer and setting, beside 0-shot and few-shot accuracy.

The row of function vectors equals "FV search" of Table 3 on the same models and tasks.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from offcourse.analysis import inference, recovery
from offcourse.analysis.results import (
    Folder,
    icl_path,
    read_items,
    read_shots,
    read_steering,
    read_sweep,
    steering_path,
    sweep_path,
)
from offcourse.analysis.selection import best_accuracy, note, repetitions
from offcourse.analysis.sources import ACCURACY, PAIRS, PERCENT, source
from offcourse.analysis.view import ResultsView
from offcourse.schemas.results import as_cells
from offcourse.tables import writing
from offcourse.tables.table3 import INTERVALS, chosen_settings, method_cells

NAME, FUNCTION_VECTORS = "table_methods", "Function vectors"
CAPTION = (
    "Mean accuracy without a vector, with one at the best layer and setting, and with examples; and the share of "
    "model-task pairs, with their count, whose best accuracy is at least the given fraction of few-shot accuracy."
)
ACCURACIES = {"zero_shot": "0-shot", "best": "steered", "few_shot": "few-shot"}


def write(view: ResultsView, out: Path) -> None:
    """Write `table_methods` into `out`: parquet of schema `CELLS`, and the printed forms.

    The protocol's `selection` decides on which items settings and layers are chosen, see `analysis.selection`.
    """
    selection = view.switch("selection")
    found = {view.label(name): read_pairs(view, name, *view.scope(name), selection) for name in view.steering}
    pairs = list(dict.fromkeys(pair for mine in found.values() for pair in mine["pair"]))
    # A model whose class has no heads has no function vectors.
    with_heads = view.setting("function_vectors.models")
    own = [pair for pair in pairs if with_heads is None or pair[0] in with_heads]
    found = {FUNCTION_VECTORS: _read(view, None, own, selection), **found} if own else found
    table = as_cells([row for label, mine in found.items() for row in cells(label, mine)])
    lines = [
        f"{label}: {len(mine)} pairs, the best of {mine['settings'].max()} settings and layers each."
        for label, mine in found.items()
    ]
    every = pd.concat(found.values())
    zero = list(dict.fromkeys(" ".join(pair) for pair in every.loc[every["few_shot"] == 0, "pair"]))
    if zero:
        lines.append(f"Pairs with few-shot accuracy 0 count as recovered at every fraction: {', '.join(zero)}.")
    lines.append(note(selection, "Settings and layers"))
    shots = sorted(set(every["shots"]))
    lines.append(
        f"Few-shot means {' or '.join(f'{count}-shot' for count in shots)}; all are on the same 0-shot queries."
    )
    lines.append(INTERVALS)
    writing.write(out, NAME.removeprefix("table"), CAPTION, table, paper_form(table), lines, title="Steering methods")


def read_pairs(
    results: Folder, method: str, models: Sequence[str], tasks: Sequence[str], selection: str
) -> pd.DataFrame:
    """One row per model and task of a method: `pair`, the accuracies, and `at`, the best rows of the sweep."""
    return _read(results, method, [(model, task) for model in models for task in tasks], selection)


def _read(results: Folder, method: str | None, pairs: Sequence[tuple[str, str]], selection: str) -> pd.DataFrame:
    rows = []
    for model, task in pairs:
        accuracy = read_shots(results, model, task)
        shots, few_shot = recovery.baseline(accuracy)
        if method is None:
            path, swept = sweep_path(model, task), recovery.hits(read_sweep(results, model, task))
        else:
            path = steering_path(method, model, task)
            swept = recovery.steering_hits(read_steering(results, method, model, task))
        repeated = repetitions(selection, task, swept.shape[1])
        row = {"pair": (model, task), "path": path, "shots": shots, "zero_shot": float(accuracy.loc[0])}
        row |= {
            "few_shot": few_shot,
            "settings": len(swept),
            "items": read_items(results, icl_path(model, task), shots),
        }
        rows.append(
            row
            | {
                "best": best_accuracy(swept.to_numpy(), repeated),
                "at": chosen_settings(swept, repeated, swept.shape[1]),
            }
        )
    return pd.DataFrame(rows)


def cells(label: str, pairs: pd.DataFrame) -> list[tuple]:
    """The cells of one method. pairs: from `read_pairs`."""
    sources: dict[str, list[dict]] = {role: [] for role in ACCURACIES}
    for pair in pairs.itertuples():
        group, path = " ".join(pair.pair), icl_path(*pair.pair)
        for role, shots in (("zero_shot", 0), ("few_shot", pair.shots)):
            sources[role].append(source(role, path, {"shots": shots}, pair.items, group=group))
        sources["best"] += [source("best", pair.path, at, n, group=group, times=times) for at, times, n in pair.at]
    named = pairs.assign(model=[model for model, _ in pairs["pair"]], task=[task for _, task in pairs["pair"]])
    rows = []
    for role, name in ACCURACIES.items():
        ends = inference.over_models_and_tasks(named.pivot(index="model", columns="task", values=role), "pairs")
        rows.append((label, name, pairs[role].mean(), len(pairs), *ends, ACCURACY, json.dumps(sources[role])))
    return rows + method_cells(label, named, [*sources["best"], *sources["few_shot"]])


def paper_form(table: pd.DataFrame) -> pd.DataFrame:
    """The printed table: methods by columns, as text."""
    value = {(cell.row, cell.column, cell.unit): cell.value for cell in table.itertuples()}
    text = {}
    for cell in table.itertuples():
        if cell.unit == ACCURACY:
            text[cell.row, cell.column] = f"{cell.value:.2f}"
        elif cell.unit == PERCENT:
            count = value[f"{cell.row} (count)", cell.column, PAIRS]
            text[cell.row, cell.column] = f"{cell.value:.0f}% ({count:.0f})"
    rows, columns = (list(dict.fromkeys(key[i] for key in text)) for i in (0, 1))
    form = pd.DataFrame([[text[row, column] for column in columns] for row in rows], rows, columns)
    return form.rename_axis(index="Method")
