"""The effect of each method on each model: a row per model, method and unit (a task or question set).

A row has the best setting, the accuracies and a p-value. p-values test that steering does nothing and are corrected
(Holm) over the rows of one method.

* Function vectors: the largest gain of the whole grid over the prompt without examples, against the largest gain that
  a grid of this size has by luck (`inference.largest_by_swapping`).
* Task vectors: hits on the test prompts, at the layer that is best on the development prompts, against hits without a
  vector (Fisher's exact test, since the items differ).
* DoLa: McNemar's test of Tables 1 and 2. With protocol `selection: same_items`, DoLa's best setting was chosen on the
  tested questions, which the test does not correct for.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pandera.pandas as pa
from scipy.stats import fisher_exact

from offcourse.analysis import inference, recovery
from offcourse.analysis.results import (
    Folder,
    icl_path,
    read_model,
    read_shots,
    read_sweep,
    read_targets,
    read_tv_shots,
    tv_icl_path,
    tv_sweep_path,
)
from offcourse.errors import OffcourseError
from offcourse.schemas.function_vectors import ICL
from offcourse.schemas.io import read_parquet
from offcourse.schemas.task_vectors import TV_SWEEP

WORKS, HARMS, UNSURE = "works", "harms", "no clear effect"
LEVEL = 0.05
# Accuracies are 0 to 1. few_shot is missing for methods without one, layer for DoLa. targets: number of different first
# tokens of the evaluated answers; chance: accuracy of always predicting the commonest first token; missing for DoLa.
SUMMARY = pa.DataFrameSchema(
    {
        "model": pa.Column(str),
        "method": pa.Column(str, pa.Check.isin(["function vector", "task vector", "DoLa"])),
        "on": pa.Column(str),
        "layer": pa.Column(float, nullable=True),
        "layers": pa.Column(int),
        "setting": pa.Column(str),
        "unsteered": pa.Column(float),
        "steered": pa.Column(float),
        "few_shot": pa.Column(float, nullable=True),
        "chance": pa.Column(float, pa.Check.in_range(0, 1), nullable=True),
        "targets": pa.Column(float, pa.Check.gt(0), nullable=True),
        "items": pa.Column(int, pa.Check.gt(0)),
        "p": pa.Column(float, pa.Check.in_range(0, 1)),
        "p_holm": pa.Column(float, pa.Check.in_range(0, 1)),
        "verdict": pa.Column(str, pa.Check.isin([WORKS, HARMS, UNSURE])),
    },
    strict=True,
    ordered=True,
)


def steering_summary(
    results: Folder,
    function_vectors: tuple[Sequence[str], Sequence[str]] = ((), ()),
    task_vectors: tuple[Sequence[str], Sequence[str]] = ((), ()),
    dola: Sequence[int] = (),
) -> pd.DataFrame:
    """The summary, a table of schema `SUMMARY`.

    function_vectors, task_vectors: (models, tasks) of the method. dola: which of Tables 1 and 2 the study has.
    """
    rows = [_function_vector(results, model, task) for model in function_vectors[0] for task in function_vectors[1]]
    rows += [_task_vector(results, model, task) for model in task_vectors[0] for task in task_vectors[1]]
    for number in dola:
        rows += _dola(results, number)
    frame = pd.DataFrame(rows, columns=[name for name in SUMMARY.columns if name not in ("p_holm", "verdict")])
    frame["p_holm"] = frame.groupby("method")["p"].transform(lambda p: inference.holm(p.tolist()))
    gain, sure = frame["steered"] - frame["unsteered"], frame["p_holm"] < LEVEL
    frame["verdict"] = np.where(sure & (gain > 0), WORKS, np.where(sure & (gain < 0), HARMS, UNSURE))
    types = dict.fromkeys(("layer", "few_shot", "chance", "targets"), float) | {
        "p": float,
        "p_holm": float,
        "items": int,
        "layers": int,
    }
    return SUMMARY.validate(frame.astype(types)) if rows else frame


def paired_hits(
    results: Folder, model: str, task: str, hits: pd.DataFrame | None = None
) -> tuple[np.ndarray, pd.DataFrame]:
    """(hits without a vector [items], hits of a sweep [settings, items]) over the same items.

    hits: the sweep of another method on the queries of function vectors; None for the sweep of function vectors.

    Raises `OffcourseError` when the items differ.
    """
    hits = recovery.hits(read_sweep(results, model, task)) if hits is None else hits
    path = results / icl_path(model, task)
    icl = read_parquet(path, ICL)
    base = icl[icl["shots"] == 0].sort_values("item")
    if base["item"].tolist() != hits.columns.tolist():
        raise OffcourseError(
            f"{model} {task}: the items without steering are not those of the sweep. Delete {path} and run the "
            "workflow again."
        )
    return base["hit"].to_numpy(float), hits


def _row(results: Folder, model: str, method: str, on: str, p: float, **more) -> dict:
    """One row. more: columns that the method has; other columns are missing values."""
    found = {"model": model, "method": method, "on": on, "p": p}
    found |= dict.fromkeys(("layer", "few_shot", "chance", "targets"), np.nan)
    return found | {"layers": read_model(results, model)["layers"]} | more


def _chance(results: Folder, model: str, task: str, method: str) -> dict[str, float]:
    targets = read_targets(results, model, task, method)
    return {"chance": targets["commonest"], "targets": targets["distinct"]}


def _function_vector(results: Folder, model: str, task: str) -> dict:
    base, hits = paired_hits(results, model, task)
    luck, best = inference.largest_by_swapping(base, hits.to_numpy(), task), hits.mean(axis=1)
    n_heads, strength, layer = best.idxmax()
    return _row(
        results,
        model,
        "function vector",
        task,
        luck.p,
        layer=layer,
        setting=f"{n_heads} heads, strength {strength:g}",
        unsteered=base.mean(),
        steered=best.max(),
        few_shot=recovery.baseline(read_shots(results, model, task))[1],
        items=len(base),
        **_chance(results, model, task, "function_vectors"),
    )


def _task_vector(results: Folder, model: str, task: str) -> dict:
    sweep = read_parquet(results / tv_sweep_path(model, task), TV_SWEEP)
    layer = int(sweep[sweep["split"] == "dev"].groupby("layer")["hit"].mean().idxmax())
    steered = sweep[(sweep["split"] == "test") & (sweep["layer"] == layer)]["hit"]
    icl = read_parquet(results / tv_icl_path(model, task), ICL)
    base, shots = icl[icl["shots"] == 0]["hit"], read_tv_shots(results, model, task)
    counts = [[side.sum(), (~side).sum()] for side in (steered, base)]
    return _row(
        results,
        model,
        "task vector",
        task,
        float(fisher_exact(counts).pvalue),
        layer=layer,
        setting="layer chosen on the development prompts",
        unsteered=base.mean(),
        steered=steered.mean(),
        few_shot=shots.loc[shots.index.max()],
        items=len(steered),
        **_chance(results, model, task, "task_vectors"),
    )


def _dola(results: Folder, number: int) -> list[dict]:
    """Rows of Table 1 (by MC1) or 2 (accuracy)."""
    table = pd.read_parquet(results / f"tables/table{number}.parquet")
    metric, scale = ("MC1", 1) if number == 1 else ("accuracy", 100)
    rows = []
    for row, cells in table.groupby("row", sort=False):
        model, _, questions = row.removesuffix(")").rpartition(" (")
        value = cells.set_index("column")["value"]
        found = _row(
            results,
            model,
            "DoLa",
            questions,
            value["McNemar p"],
            setting=f"best bucket and alpha by {metric}",
            unsteered=value[f"{metric} base"] / scale,
            steered=value[f"{metric} DoLa"] / scale,
            items=int(cells["n"].max()),
        )
        rows.append(found)
    return rows
