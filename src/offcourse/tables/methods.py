"""The table of methods: accuracy at the best layer and setting, beside 0-shot and few-shot accuracy.

The row of function vectors equals "FV search" of Table 3 on the same models and tasks, that of task vectors "TV".
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from offcourse.analysis import inference, recovery, task_vectors
from offcourse.analysis.results import (
    Folder,
    icl_path,
    read_items,
    read_shots,
    read_steering,
    read_sweep,
    read_tv_shots,
    read_tv_sweep,
    steering_path,
    sweep_path,
    tv_icl_path,
)
from offcourse.analysis.selection import best_accuracy, note, repetitions
from offcourse.analysis.sources import ACCURACY, PAIRS, PERCENT, source
from offcourse.analysis.view import ResultsView
from offcourse.schemas.results import as_cells
from offcourse.tables import table3, writing
from offcourse.tables.table3 import INTERVALS, chosen_settings, method_cells

NAME, FUNCTION_VECTORS, TASK_VECTORS = "table_methods", "Function vectors", "Task vectors"
CAPTION = (
    "Mean accuracy without a vector, with one at the best layer and setting, and with examples; and the share of "
    "model-task pairs, with their count, whose best accuracy is at least the given fraction of few-shot accuracy."
)
ACCURACIES = {"zero_shot": "0-shot", "best": "steered", "few_shot": "few-shot"}
Pair = tuple[str, str]


def write(view: ResultsView, out: Path) -> None:
    """Write `table_methods` into `out`: parquet of schema `CELLS`, and the printed forms.

    The protocol's `selection` decides on which items settings and layers are chosen, see `analysis.selection`.
    """
    selection = view.switch("selection")
    found = {view.label(name): read_pairs(view, name, *view.scope(name), selection) for name in view.steering}
    pairs = list(dict.fromkeys(pair for mine in found.values() for pair in mine["pair"]))
    # A model whose class has no heads has no function vectors.
    own = _shared(view, "function_vectors", pairs)
    found = {FUNCTION_VECTORS: _read(view, None, own, selection), **found} if own else found
    apart, lines_apart = read_task_vectors(view, _shared(view, "task_vectors", pairs))
    rows = list(found.items())
    if len(apart):
        rows.insert(1 if own else 0, (TASK_VECTORS, apart))
    table = as_cells([row for label, mine in rows for row in cells(label, mine)])
    lines = [
        f"{label}: {len(mine)} pairs, the best of {mine['settings'].max()} "
        f"{'layers' if label == TASK_VECTORS else 'settings and layers'} each."
        for label, mine in rows
    ]
    every = pd.concat(found.values())
    zero = list(dict.fromkeys(" ".join(pair) for pair in every.loc[every["few_shot"] == 0, "pair"]))
    if zero:
        lines.append(f"Pairs with few-shot accuracy 0 count as recovered at every fraction: {', '.join(zero)}.")
    lines.append(note(selection, "Settings and layers"))
    shots = " or ".join(f"{count}-shot" for count in sorted(set(every["shots"])))
    rest = "all but task vectors" if len(apart) else "all"
    lines += [f"Few-shot means {shots}; {rest} are on the same 0-shot queries.", *lines_apart, INTERVALS]
    writing.write(out, NAME.removeprefix("table"), CAPTION, table, paper_form(table), lines, title="Steering methods")


def _shared(view: ResultsView, method: str, pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs that a method of the paper has as well; none if the study lacks the method."""
    models, tasks = view.scope(method)
    return [(model, task) for model, task in pairs if model in models and task in tasks]


def read_pairs(
    results: Folder, method: str, models: Sequence[str], tasks: Sequence[str], selection: str
) -> pd.DataFrame:
    """One row per model and task of a method, as `cells` takes them."""
    return _read(results, method, [(model, task) for model in models for task in tasks], selection)


def _read(results: Folder, method: str | None, pairs: Sequence[Pair], selection: str) -> pd.DataFrame:
    """method: None for function vectors."""
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
        entries = _baselines(results, icl_path(model, task), (model, task), shots)
        entries["best"] = [
            source("best", path, at, n, group=f"{model} {task}", times=times)
            for at, times, n in chosen_settings(swept, repeated, swept.shape[1])
        ]
        rows.append(
            {
                "pair": (model, task),
                "shots": shots,
                "settings": len(swept),
                "zero_shot": float(accuracy.loc[0]),
                "best": best_accuracy(swept.to_numpy(), repeated),
                "few_shot": few_shot,
                "divisor": few_shot,
                "sources": entries | {"divisor": entries["few_shot"]},
            }
        )
    return pd.DataFrame(rows)


def _baselines(results: Folder, path: str, pair: Pair, few: int) -> dict[str, list[dict]]:
    """Entries of the accuracies without a vector. few: demonstrations of the few-shot prompts."""
    shots = {"zero_shot": 0, "few_shot": few}
    return {
        role: [source(role, path, {"shots": count}, read_items(results, path, count), group=" ".join(pair))]
        for role, count in shots.items()
    }


def read_task_vectors(view: ResultsView, pairs: Sequence[Pair]) -> tuple[pd.DataFrame, list[str]]:
    """(a row per pair as `cells` takes them, notes) of task vectors, which have prompts and items of their own.

    Layers, splits and the accuracy that shares are divided by (`divisor`) are those of Table 3.
    """
    if not pairs:
        return pd.DataFrame(), []
    switches = view.switches("tv_denominator", "tv_direction", "tv_score")
    vectors = view.scope("function_vectors")
    left = table3.left_over(view, *vectors) if all(vectors) else None
    # Over the method's whole scope, since a divisor may be left over from the model before (tv_denominator).
    every = task_vectors.read_pairs(view, *view.scope("task_vectors"), view.groups(), switches, left)
    mine = every[[pair in pairs for pair in zip(every["model"], every["task"], strict=True)]]
    rows = []
    for pair in mine.itertuples():
        accuracy, path = read_tv_shots(view, pair.model, pair.task), tv_icl_path(pair.model, pair.task)
        entries = _baselines(view, path, (pair.model, pair.task), pair.shots)
        entries["best"], entries["divisor"] = table3.task_vector_sources(pair)
        rows.append(
            {
                "pair": (pair.model, pair.task),
                "shots": pair.shots,
                "settings": len(read_tv_sweep(view, pair.model, pair.task)),
                "zero_shot": float(accuracy.loc[0]),
                "best": pair.best,
                "few_shot": float(accuracy.loc[pair.shots]),
                "divisor": pair.few_shot,
                "sources": entries,
            }
        )
    found = pd.DataFrame(rows)
    return found, _task_vector_notes(found, mine, switches)


def _task_vector_notes(found: pd.DataFrame, pairs: pd.DataFrame, switches: Mapping[str, str]) -> list[str]:
    """Notes on what sets the row of task vectors apart. pairs: from `analysis.task_vectors.read_pairs`."""
    where = {
        "dev": "on the development prompts, which choose its layer as well",
        "test": "on test prompts, at the layer that is best on development prompts",
    }[switches["tv_score"]]
    counts = {role: _spread(entries[role][0]["n"] for entries in found["sources"]) for role in ACCURACIES}
    first = (
        f"{TASK_VECTORS} are measured on prompts and words of their own, so compare their row within itself. Their "
        f"0-shot accuracy is on {counts['zero_shot']} prompts, their {pairs['shots'].iloc[0]}-shot accuracy on "
        f"{counts['few_shot']} test prompts; steered accuracy is {where} ({counts['best']})."
    )
    if "previous_model" in set(pairs["denominator"]):
        first += " Few-shot in the table is each pair's own accuracy; shares are of the one that Table 3 divides by."
    return [first, *table3.divisor_notes(pairs, switches)]


def _spread(counts: Iterable[int]) -> str:
    """The number that all counts are, or their range."""
    found = sorted(set(counts))
    return f"{found[0]}" if len(found) == 1 else f"{found[0]} to {found[-1]}"


def cells(label: str, pairs: pd.DataFrame) -> list[tuple]:
    """The cells of one method.

    pairs: `pair`; the accuracies `zero_shot`, `best` and `few_shot`; `divisor`, the accuracy that shares are fractions
    of; and `sources`, {name of one of these four columns: its entries}.
    """
    named = pairs.assign(model=[model for model, _ in pairs["pair"]], task=[task for _, task in pairs["pair"]])

    def entries(role: str) -> list[dict]:
        return [entry for mine in pairs["sources"] for entry in mine[role]]

    rows = []
    for role, name in ACCURACIES.items():
        ends = inference.mean_of_pairs(named.pivot(index="model", columns="task", values=role), "pairs")
        rows.append((label, name, pairs[role].mean(), len(pairs), *ends, ACCURACY, json.dumps(entries(role))))
    divided = named.assign(few_shot=named["divisor"])
    return rows + method_cells(label, divided, [*entries("best"), *entries("divisor")])


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
