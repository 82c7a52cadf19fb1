"""Table 3: the share of model-task pairs in which a steering vector recovers few-shot accuracy."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from offcourse.analysis import inference, recovery, task_vectors
from offcourse.analysis.results import (
    Folder,
    icl_path,
    read_items,
    read_model,
    read_shots,
    read_sweep,
    sweep_path,
    tv_sweep_path,
)
from offcourse.analysis.selection import best_accuracy, note, repetitions, weights
from offcourse.analysis.sources import PAIRS, PERCENT, source
from offcourse.analysis.view import ResultsView
from offcourse.data.rows import LARGE_ABOVE, is_large
from offcourse.errors import OffcourseError
from offcourse.schemas.results import as_cells
from offcourse.tables import writing

QUANTILES = (0.50, 0.75, 0.90, 1.00)
DEFAULT_STRENGTH = 1.0
# Numbers of heads of the default setting, for (small, large) models. The paper states one number per size, but the code
# that made the paper's Table 3 takes the best of a list.
DEFAULT_HEADS = {"maximum": ((2, 16, 32), (2, 64)), "single": ((16,), (64,))}

CAPTION = (
    "Share of model-task pairs, with their count, whose best accuracy with a steering vector is at least the given "
    "fraction of few-shot accuracy."
)

INTERVALS = (
    "95% intervals, in the parquet, are of resampled models and tasks, since pairs of one model are not independent, "
    "and no narrower than Wilson's."
)


def write(view: ResultsView, out: Path) -> None:
    """Write `table3.parquet` (schema `CELLS`) and, in the paper's form, `.csv`, `.md` and `.tex` into `out`.

    The table has rows for those of function vectors and task vectors that the folder has. The `.md` ends with notes,
    one per line; one note names the settings of the study's grid that a model's sweep lacks.
    """
    parts, lines, before = [], [], None
    switches = view.switches("tv_denominator", "tv_direction", "tv_score")
    if "function_vectors" in view.methods:
        default_heads, selection = view.switch("default_heads"), view.switch("selection")
        pairs = read_pairs(view, *view.scope("function_vectors"), default_heads, selection)
        parts.append(function_vector_cells(pairs))
        large = view.setting("function_vectors.large")
        grids = view.setting("function_vectors.n_heads"), large and large["n_heads"]
        lines += notes(pairs, default_heads, selection) + left_out(pairs, *grids)
        before = left_over(view, *view.scope("function_vectors"), view.known("last"))
    if "task_vectors" in view.methods:
        pairs = task_vectors.read_pairs(view, *view.scope("task_vectors"), view.groups(), switches, before)
        parts.append(task_vector_cells(pairs))
        lines += task_vector_notes(pairs, switches)
    table = pd.concat(parts, ignore_index=True)
    lines.append(INTERVALS)
    writing.write(out, 3, CAPTION, table, paper_form(table), lines)


def left_over(
    results: Folder, models: Sequence[str], tasks: Sequence[str], last: tuple[str, str] | None = None
) -> tuple[float, list[tuple[str, int, int]]]:
    """The value of the variable that the authors' code leaves over from function vectors, and the entries behind it.

    See `analysis.task_vectors.read_pairs`. models, tasks: of function vectors. last: the pair computed last (None: the
    last model on the last task).
    """
    model, task = last or (models[-1], tasks[-1])
    shots, few_shot = recovery.baseline(read_shots(results, model, task))
    path = icl_path(model, task)
    return few_shot, [(path, shots, read_items(results, path, shots))]


def read_hits(
    results: Folder, model: str, task: str, read: Callable[[Folder, str, str], pd.DataFrame] = read_sweep
) -> tuple[pd.DataFrame, int]:
    """(hits of a sweep, see `recovery.hits`; its number of items). read: reads the sweep of a model and task."""
    scored = read(results, model, task)
    return recovery.hits(scored), recovery.items(scored)


def read_pairs(
    results: Folder,
    models: list[str],
    tasks: list[str],
    default_heads: str,
    selection: str = "same_items",
    read: Callable[[Folder, str, str], tuple[pd.DataFrame, int]] = read_hits,
) -> pd.DataFrame:
    """One row per model and task. read: reads the hits of a model and task, see `read_hits`.

    Columns: `few_shot`, the accuracy with `shots` examples over `items` items; `search`, the best accuracy over all
    settings and layers; `default`, the best accuracy over the default settings, NaN if the sweep has none of them;
    `large`, whether the model has the default numbers of heads of large models. `selection` decides on which items the
    best is chosen; `search_at` and `default_at` are the chosen rows of the sweep, see `selection.weights`.

    Raises `OffcourseError` for results without single items under another selection than same_items.
    """
    if default_heads not in DEFAULT_HEADS:
        raise OffcourseError(f"default_heads is {default_heads!r}, but must be one of {', '.join(DEFAULT_HEADS)}.")
    rows = []
    for model in models:
        large = is_large(read_model(results, model)["parameters"])
        for task in tasks:
            shots, few_shot = recovery.baseline(read_shots(results, model, task))
            sweep, count = read(results, model, task)
            if selection != "same_items" and sweep.shape[1] != count:
                raise OffcourseError(
                    f"{results / sweep_path(model, task)} has counts, not items, so that no half of them can be chosen "
                    "on. Set selection: same_items in protocol."
                )
            heads, strength = (sweep.index.get_level_values(level) for level in ("n_heads", "strength"))
            is_default = (strength == DEFAULT_STRENGTH) & heads.isin(DEFAULT_HEADS[default_heads][large])
            repeated = repetitions(selection, task, sweep.shape[1])
            row = {"model": model, "task": task, "large": large, "shots": shots, "few_shot": few_shot}
            row |= {"items": read_items(results, icl_path(model, task), shots), "n_heads": frozenset(heads)}
            for name, tried in (("search", sweep), ("default", sweep[is_default])):
                row[name] = best_accuracy(tried.to_numpy(), repeated) if len(tried) else None
                row[f"{name}_at"] = chosen_settings(tried, repeated, count) if len(tried) else []
            rows.append(row)
    return pd.DataFrame(rows).astype({"default": float})


def chosen_settings(tried: pd.DataFrame, repeated, items: int) -> list[tuple[dict, list[int], int]]:
    """(row of the sweep, how often it is chosen for each item, number of items) of every chosen row of a sweep."""
    hits = tried.to_numpy()
    counts = weights(repeated, lambda chosen_on: int(hits[:, chosen_on].sum(1).argmax()))
    return [(dict(zip(tried.index.names, tried.index[at], strict=True)), n, items) for at, n in counts.items()]


def function_vector_cells(pairs: pd.DataFrame) -> pd.DataFrame:
    """The cells of function vectors: a percentage with its 95 % interval (`inference.share_of_pairs`), and a count.

    A pair without a default setting is left out of the default row. A pair with few-shot accuracy 0 counts as recovered
    at every quantile, as in the authors' code, since any accuracy is at least 0; `notes` names such pairs.
    """
    rows = []
    for method, column in (("FV default", "default"), ("FV search", "search")):
        known = pairs[pairs[column].notna()]
        sources = [entry for pair in known.itertuples() for entry in _function_vector_sources(pair, f"{column}_at")]
        rows += method_cells(method, known.rename(columns={column: "best"}), sources)
    return as_cells(rows)


def _function_vector_sources(pair, chosen: str) -> list[dict]:
    group, path = f"{pair.model} {pair.task}", sweep_path(pair.model, pair.task)
    best = [source("best", path, where, n, group=group, times=times) for where, times, n in getattr(pair, chosen)]
    few_shot = source("few_shot", icl_path(pair.model, pair.task), {"shots": pair.shots}, pair.items, group=group)
    return [*best, few_shot]


def task_vector_cells(pairs: pd.DataFrame) -> pd.DataFrame:
    """The cells of task vectors. pairs: from `analysis.task_vectors.read_pairs`."""
    sources = [entry for pair in pairs.itertuples() for part in task_vector_sources(pair) for entry in part]
    return as_cells(method_cells("TV", pairs, sources))


def task_vector_sources(pair) -> tuple[list[dict], list[dict]]:
    """Entries of the roles `best` and `few_shot` of a pair, a row of `analysis.task_vectors.read_pairs`."""
    group, where = f"{pair.model} {pair.task}", {"split": pair.split, "layer": pair.layer}
    best = source("best", tv_sweep_path(pair.model, pair.task), where, pair.items, group=group)
    divided_by = [
        source("few_shot", path, {"shots": shots}, items, group=group) for path, shots, items in pair.divided_by
    ]
    return [best], divided_by


def method_cells(method: str, pairs: pd.DataFrame, sources: list[dict]) -> list[tuple]:
    """The cells of one method: a percentage and a count per quantile.

    pairs: `model`, `task`, `best` and `few_shot`. sources: entries of roles `best` and `few_shot`.
    """
    rows, sources = [], json.dumps(sources)
    for quantile in QUANTILES:
        at = f"{quantile:.2f}"
        percent, low, high, count = None, None, None, None
        if len(pairs):
            reached = pairs.assign(reached=[reaches(pair, quantile) for pair in pairs.itertuples()])
            count = int(reached["reached"].sum())
            wide = reached.pivot(index="model", columns="task", values="reached").astype(float)
            low, high = (100 * end for end in inference.share_of_pairs(wide, "pairs"))
            percent = 100 * count / len(pairs)
        rows.append((method, at, percent, len(pairs), low, high, PERCENT, sources))
        rows.append((f"{method} (count)", at, count, len(pairs), None, None, PAIRS, sources))
    return rows


def reaches(pair, quantile: float) -> bool:
    """Whether the accuracy `best` of a pair reaches `quantile` times its `few_shot` accuracy."""
    return recovery.reaches(pair.best, quantile, pair.few_shot)


def paper_form(table: pd.DataFrame) -> pd.DataFrame:
    """The printed table: methods by quantiles, whole percent with the count in brackets; `n/a` for an empty cell."""
    percent = table[table["unit"] == PERCENT]
    counts = table[table["unit"] == PAIRS]["value"].to_numpy()
    text = [
        "n/a" if pd.isna(value) else f"{value:.0f}% ({count:.0f})"
        for value, count in zip(percent["value"], counts, strict=True)
    ]
    form = percent.assign(text=text).pivot(index="row", columns="column", values="text")
    form = form.loc[percent["row"].unique()]
    return form.rename_axis(index="Method", columns=None)


def notes(pairs: pd.DataFrame, default_heads: str, selection: str = "same_items") -> list[str]:
    """The notes on function vectors below the table, a sentence or two each."""
    models, tasks = pairs["model"].nunique(), pairs["task"].nunique()
    heads = {large: _or(DEFAULT_HEADS[default_heads][large]) for large in sorted(set(pairs["large"]))}
    grid = " and ".join(
        f"n_heads {text}{f' for models above {LARGE_ABOVE}B parameters' if large else ''}"
        for large, text in heads.items()
    )
    grid += f" at strength {DEFAULT_STRENGTH:g}"
    best = "the best of " if default_heads == "maximum" else ""
    lines = [
        f"{len(pairs)} pairs: {models} model{'s'[: models > 1]} x {tasks} task{'s'[: tasks > 1]}. "
        "Best accuracy is over layers; FV search takes the best of all settings of the sweep as well.",
        note(selection, "The settings and layers of function vectors"),
    ]
    without = pairs[pairs["default"].isna()]
    if len(without) == len(pairs):
        lines.append(f"FV default is empty: this study's sweep has no {grid}. Add it to function_vectors in the study.")
    else:
        lines.append(f"FV default is {best}{grid}, as far as the sweep has them.")
        if len(without):
            lines.append(
                f"FV default leaves out {len(without)} pair{'s'[: len(without) > 1]} whose sweep has none of these: "
                f"{_names(without)}."
            )
    zero = pairs[pairs["few_shot"] == 0]
    if len(zero):
        lines.append(
            f"{len(zero)} pair{'s'[: len(zero) > 1]} with few-shot accuracy 0 count as recovered at every fraction, "
            f"as in the published code: {_names(zero)}."
        )
    fewer = sorted(set(pairs["shots"]) - {recovery.BASELINE_SHOTS})
    if fewer:
        lines.append(
            f"This study has fewer than {recovery.BASELINE_SHOTS} shots, so few-shot means "
            f"{' or '.join(f'{shots}-shot' for shots in fewer)} and not {recovery.BASELINE_SHOTS}-shot as in the paper."
        )
    return lines


def left_out(pairs: pd.DataFrame, n_heads: Sequence[int], large_n_heads: Sequence[int] | None = None) -> list[str]:
    """A note on numbers of heads of the study's grid that a model's sweeps lack, since the model has fewer heads."""
    models = []
    for model, mine in pairs.groupby("model", sort=False):
        grid = large_n_heads if large_n_heads and mine["large"].iloc[0] else n_heads
        if missing := sorted(set(grid) - frozenset.union(*mine["n_heads"])):
            models.append(f"{model} without n_heads {', '.join(map(str, missing))}")
    return [f"More heads than a model has are left out of its sweep: {'; '.join(models)}."] if models else []


def task_vector_notes(pairs: pd.DataFrame, switches: Mapping[str, str]) -> list[str]:
    """Notes on the row of task vectors: the accuracy, the accuracy it is divided by, pairs that count as recovered."""
    shots = pairs["shots"].iloc[0]
    where = {
        "dev": "on the development prompts that choose the layer",
        "test": "on test prompts, at the layer that is best on the development prompts",
    }[switches["tv_score"]]
    first = f"TV is the accuracy {where}, against {shots}-shot accuracy on the test prompts of task vectors."
    return [first, *divisor_notes(pairs, switches)]


def divisor_notes(pairs: pd.DataFrame, switches: Mapping[str, str]) -> list[str]:
    """Notes on the accuracy that task vectors are divided by, and on pairs that count as recovered."""
    shots, lines = pairs["shots"].iloc[0], []
    stale = pairs[pairs["denominator"] == "previous_model"]
    if len(stale):
        lines.append(
            f"As in the published code, {len(stale)} of {len(pairs)} pairs are divided by a {shots}-shot accuracy left "
            "over from the model before them (protocol tv_denominator)."
        )
    elif switches["tv_denominator"] == "previous_model":
        lines.append("No accuracy is left over from another model here, so each pair is divided by its own.")
    zero = pairs[pairs["few_shot"] == 0]
    if len(zero):
        lines.append(
            f"{len(zero)} pair{'s'[: len(zero) > 1]} of task vectors with {shots}-shot accuracy 0 count as recovered: "
            f"{_names(zero)}."
        )
    return lines


def _or(numbers: tuple[int, ...]) -> str:
    return " or ".join(filter(None, (", ".join(map(str, numbers[:-1])), str(numbers[-1]))))


def _names(pairs: pd.DataFrame) -> str:
    return ", ".join(f"{pair.model} {pair.task}" for pair in pairs.itertuples())
