"""Accuracies of task vectors, and what they are held against (paper section 4; protocol switches `tv_...`)."""

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
    """One row per model and task: `best` accuracy of its task vectors, and the `few_shot` accuracy it is divided by.

    The layer is the first one that is best on the development prompts; `tv_score` says whether its accuracy is that on
    those same prompts (dev) or on the test prompts.
    groups: group by task (tasks.tsv). switches: `tv_denominator`, `tv_direction`, `tv_score`.
    before: what stood in the released code's variable before its first model: the function vectors' last accuracy, with
    what it was read from.
    Column `denominator` says what `few_shot` is: `own`, or `previous_model`: with that switch, the mean 5-shot accuracy
    of the model before over tasks from English. It is `own` where there is nothing left over.
    Columns `split`, `layer` and `items` say which rows of the sweep `best` is over; `divided_by` lists artefact, shots
    and items behind `few_shot`, which is the mean over them.
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
    """Peak recovery of a task group, the layer it is at, and the group's tasks with their few-shot count.

    best, mean: of the group's development accuracy over layers. few_shot: the accuracy that recovery is a fraction of.
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
    """Peak recovery by task group: best layer of the group's mean development accuracy / its mean few-shot accuracy.

    Linguistic and factual tasks stand alone, translations are averaged by direction, as the released tables are.
    NaN where the few-shot accuracy is 0.
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
