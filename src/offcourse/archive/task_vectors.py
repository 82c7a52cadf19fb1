"""The authors' task-vector accuracies: per model a CSV, and a pickle that also has the chosen layer's test accuracy."""

import io
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from offcourse.archive.paths import OTHER_PACKAGES, vector_paths
from offcourse.archive.unpickle import load_arrays
from offcourse.data.rows import Task
from offcourse.errors import OffcourseError

# Prompts per task in the authors' code (Hendel et al.'s): queries alone; queries with a vector or with 5 shots.
BASELINE_ITEMS, ITEMS = 100, 50
SHOTS = 5


def keys(task: Task) -> tuple[str, ...]:
    """Possible keys of a task in the authors' files: folder and name of the task's list, or this project's name."""
    path = PurePosixPath(task.task_vector_release)
    return f"{path.parent.name}_{path.stem}", task.name


def read_task_vectors(
    read: Callable[[str], bytes], release_name: str, tasks: Sequence[Task], layers: int, pickled: bool
) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """{task: (sweep, baselines)}, of schemas `PUBLISHED_TV_SWEEP` and `PUBLISHED_ICL`. read: path -> content of a file.

    pickled: whether the model's pickle was released, which must agree with the CSV. The sweep has every layer on the
    development prompts, and on the test prompts only the layer that is best on the development prompts (from the
    pickle). Raises `OffcourseError` for files of another shape, or that contradict each other.
    """
    files = vector_paths(release_name)
    table, baselines = _csv(read(files["layers"]), files["layers"]), _csv(read(files["baselines"]), files["baselines"])
    if len(table) != layers or len(baselines) != 2:
        raise OffcourseError(
            f"{files['layers']} has {len(table)} rows and the baselines {len(baselines)}; expected a row for each of "
            f"{layers} layers, and 0-shot and {SHOTS}-shot"
        )
    stored = load_arrays(read(files["pickle"]), files["pickle"]) if pickled else None
    found = {}
    for task in tasks:
        column, shots = (
            _pick(frame, task, files[kind]) for frame, kind in ((table, "layers"), (baselines, "baselines"))
        )
        where = f"{files['layers']}, {task.name}"
        dev = _counts(table[column], ITEMS, where)
        rows = [("dev", layer, hits, ITEMS) for layer, hits in enumerate(dev)]
        zero = _counts(baselines[shots][:1], BASELINE_ITEMS, where)[0]
        few = _counts(baselines[shots][1:], ITEMS, where)[0]
        if stored is not None:
            rows.append(_of_pickle(stored, task, dev, (zero, few), files["pickle"]))
        sweep = pd.DataFrame(rows, columns=["split", "layer", "hits", "items"]).astype({"hits": "Int64"})
        shots = pd.DataFrame(
            {"shots": [0, SHOTS], "hits": pd.array([zero, few], "Int64"), "items": [BASELINE_ITEMS, ITEMS]}
        )
        found[task.name] = sweep, shots
    return found


def _csv(content: bytes, name: str) -> pd.DataFrame:
    try:
        return pd.read_csv(io.BytesIO(content)).astype(float)
    except ValueError as error:
        raise OffcourseError(f"{name} is not a table of accuracies ({error}). {OTHER_PACKAGES}") from error


def _pick(known, task: Task, name: str) -> str:
    """The column or key of a task in a file. Raises `OffcourseError` if the file has none."""
    for key in keys(task):
        if key in known:
            return key
    raise OffcourseError(f"{name} has nothing about {task.name}: expected {' or '.join(keys(task))}, got {list(known)}")


def _counts(accuracies, items: int, where: str) -> list[int]:
    """Accuracies as counts out of `items`. Raises `OffcourseError` for an accuracy that is no such count."""
    values = np.asarray(accuracies, float) * items
    hits = np.rint(values)
    if not (np.abs(values - hits) < 1e-9 * items).all() or hits.min() < 0 or hits.max() > items:
        raise OffcourseError(f"{where}: an accuracy is not a number of {items} items: {list(np.asarray(accuracies))}")
    return [int(each) for each in hits]


def _of_pickle(stored, task: Task, dev: list[int], shots: tuple[int, int], name: str) -> tuple[str, int, int, int]:
    """The row of the test split from the pickle, whose other numbers must agree with the CSV."""
    values = stored[_pick(stored, task, name)]
    where = f"{name}, {task.name}"
    try:
        by_layer = values["tv_dev_accruacy_by_layer"]  # spelled so in the release
        layers = _counts([by_layer[layer] for layer in range(len(by_layer))], ITEMS, where)
        zero = _counts([values["baseline_accuracy"]], BASELINE_ITEMS, where)[0]
        few, test = _counts([values["icl_accuracy"], values["tv_accuracy"]], ITEMS, where)
    except (KeyError, TypeError, ValueError) as error:
        raise OffcourseError(f"{where}: not the accuracies that were expected ({error!r})") from error
    if layers != dev or (zero, few) != shots:
        raise OffcourseError(f"{where}: it contradicts the CSV of the same model")
    return "test", int(np.argmax(dev)), test, ITEMS
