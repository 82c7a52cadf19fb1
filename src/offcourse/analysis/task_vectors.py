"""Accuracies of task vectors, and the few-shot accuracies they are compared with (section 4; switches `tv_...`)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from offcourse.analysis.results import Folder, read_items, read_tv_items, read_tv_shots, read_tv_sweep, tv_icl_path

SPANISH = {"english-spanish": "spanish-english", "spanish-english": "english-spanish"}


def direction(task: str, groups: Mapping[str, str], tv_direction: str) -> str:
    """Group of a task; under `spanish_swapped` the two Spanish tasks change places, as in the released averages."""
    task = SPANISH.get(task, task) if tv_direction == "spanish_swapped" else task
    return groups[task]


def read_pairs(
    results: Folder,
    models: Sequence[str],
    tasks: Sequence[str],
    groups: Mapping[str, str],
    switches: Mapping[str, str],
    before: tuple[float, list[tuple[str, int, int]]] | None = None,
) -> pd.DataFrame:
    """One row per model and task: `best`, the accuracy of the task vectors, and `few_shot`, the accuracy to divide by.

    `best` is taken at the first layer that is best on the development prompts. The switch `tv_score` says on which
    prompts: the development prompts (dev) or the test prompts (test).

    groups: {task: group} of tasks.tsv. switches: `tv_denominator`, `tv_direction`, `tv_score`.
    before: the value that a variable of the authors' code held before its first model, namely the last accuracy of
    function vectors, and the entries it was read from.

    Column `denominator` is `own` if `few_shot` is the pair's own accuracy. It is `previous_model` if the switch takes
    the mean 5-shot accuracy of the previous model over tasks from English; `own` where there is no previous value.
    Columns `split`, `layer` and `items` name the rows of the sweep behind `best`. `divided_by` lists artefact, shots
    and items behind `few_shot`, which is their mean.
    """
    rows, left_over = [], before
    stale = switches["tv_denominator"] == "previous_model"
    for model in models:
        shots = {task: read_tv_shots(results, model, task) for task in tasks}
        few_shot = {task: float(series.loc[series.index.max()]) for task, series in shots.items()}
        behind = {}
        for task in tasks:
            count, path = int(shots[task].index.max()), tv_icl_path(model, task)
            behind[task] = [(path, count, read_items(results, path, count))]
            use = stale and left_over is not None
            accuracy = read_tv_sweep(results, model, task)
            layer = int(accuracy["dev"].idxmax())
            rows.append(
                {
                    "model": model,
                    "task": task,
                    "shots": count,
                    "best": float(accuracy.loc[layer, switches["tv_score"]]),
                    "split": switches["tv_score"],
                    "layer": layer,
                    "items": read_tv_items(results, model, task, switches["tv_score"]),
                    "few_shot": left_over[0] if use else few_shot[task],
                    "divided_by": left_over[1] if use else behind[task],
                    "denominator": "previous_model" if use else "own",
                }
            )
        from_english = [task for task in tasks if direction(task, groups, switches["tv_direction"]) == "from-english"]
        left_over = None
        if from_english:
            mean = sum(few_shot[task] for task in from_english) / len(from_english)
            left_over = (mean, [entry for task in from_english for entry in behind[task]])
    return pd.DataFrame(rows)


class Peak(NamedTuple):
    """Peak recovery of a task group, its layer, and the group's tasks with their few-shot count.

    best, mean: maximum and mean over layers of the group's development accuracy. few_shot: the denominator of recovery.
    """

    recovery: float
    layer: int
    shots: dict[str, int]
    best: float
    mean: float
    few_shot: float


def by_group(
    results: Folder, model: str, tasks: Sequence[str], groups: Mapping[str, str], tv_direction: str
) -> dict[str, Peak]:
    """{task group: peak recovery}: the group's best mean development accuracy / its mean few-shot accuracy.

    Each linguistic or factual task is a group of its own; translations are averaged by direction, as in the released
    tables. The recovery is NaN where the few-shot accuracy is 0.
    """
    members: dict[str, list[str]] = {}
    for task in tasks:
        group = direction(task, groups, tv_direction)
        members.setdefault(group if group.endswith("english") else task, []).append(task)
    recovered = {}
    for group, names in members.items():
        accuracy = pd.concat([read_tv_sweep(results, model, name)["dev"] for name in names], axis=1).mean(axis=1)
        shots = [read_tv_shots(results, model, name) for name in names]
        few_shot = sum(float(series.loc[series.index.max()]) for series in shots) / len(shots)
        peak = float(accuracy.max()) / few_shot if few_shot > 0 else float("nan")
        counts = {name: int(series.index.max()) for name, series in zip(names, shots, strict=True)}
        best, mean = float(accuracy.max()), float(accuracy.mean())
        recovered[group] = Peak(peak, int(accuracy.idxmax()), counts, best, mean, few_shot)
    return recovered
