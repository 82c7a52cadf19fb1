"""Reading a study's results per model and unit. Paths are relative to the study's folder.

A pair is one model and one task. The functions also read the authors' released results (`results/published`), which
hold counts instead of single items, and no value where nothing was released.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from offcourse.analysis import recovery
from offcourse.analysis.sources import listed, source
from offcourse.analysis.view import ResultsView
from offcourse.errors import OffcourseError
from offcourse.schemas.function_vectors import (
    FV_CONTROLS,
    FV_SWEEP,
    ICL,
    NULL_CONTROLS,
    READ_POSITION,
    STEERING_SWEEP,
)
from offcourse.schemas.io import read_parquet, read_unchecked
from offcourse.schemas.questions import APATHY, DOLA, LOGIT_LENS, STEERED_ANSWERS
from offcourse.schemas.released import (
    APATHY_MEANS,
    LENS_MEANS,
    PREMATURE_LAYERS,
    PUBLISHED_DOLA,
    PUBLISHED_FV_SWEEP,
    PUBLISHED_ICL,
    PUBLISHED_TV_SWEEP,
)
from offcourse.schemas.task_vectors import TV_SWEEP

# A results folder: its path, or the view of the folder that a table or figure is given.
Folder = Path | ResultsView


def has(results: Folder, path: str) -> bool:
    """Whether the folder has a result; a view has only the declared results that its folder covers."""
    return path in results if isinstance(results, ResultsView) else (results / path).exists()


def prompts_path(model: str, task: str) -> str:
    """Path of the prompts of one pair."""
    return f"{model}/prompts/{task}.parquet"


def cie_path(model: str, task: str) -> str:
    """Path of the causal indirect effects of one pair."""
    return f"{model}/cie/{task}.parquet"


def sweep_path(model: str, task: str) -> str:
    """Path of the function-vector sweep of one pair."""
    return f"{model}/fv_sweep/{task}.parquet"


def controls_path(model: str, task: str) -> str:
    """Path of the controls' sweep of one pair."""
    return f"{model}/fv_controls/{task}.parquet"


def steering_path(method: str, model: str, task: str) -> str:
    """Path of the sweep of a method of `offcourse.steering` for one pair."""
    return f"{model}/{method}_sweep/{task}.parquet"


def side_effects_path(method: str, model: str, task: str) -> str:
    """Path of the side effects of a method of `offcourse.steering` for one pair."""
    return f"{model}/{method}_side_effects/{task}.parquet"


def steering_controls_path(method: str, model: str, task: str) -> str:
    """Path of the controls' sweep of a method of `offcourse.steering` for one pair."""
    return f"{model}/{method}_controls/{task}.parquet"


def draws_path(method: str, model: str, task: str) -> str:
    """Path of the further draws of a method of `offcourse.steering` for one pair."""
    return f"{model}/{method}_draws/{task}.parquet"


def precisions_path(method: str, model: str, task: str) -> str:
    """Path of the hits in several precisions of a method of `offcourse.steering` for one pair."""
    return f"{model}/{method}_precisions/{task}.parquet"


def answers_path(method: str, model: str, questions: str) -> str:
    """Path of the scores of answers under a steering method, for one model and question set."""
    return f"{model}/{method}_answers/{questions}.parquet"


def icl_path(model: str, task: str) -> str:
    """Path of the in-context baselines of one pair."""
    return f"{model}/icl/{task}.parquet"


def tv_sweep_path(model: str, task: str) -> str:
    """Path of the task-vector sweep of one pair."""
    return f"{model}/tv_sweep/{task}.parquet"


def tv_icl_path(model: str, task: str) -> str:
    """Path of the baselines of task vectors of one pair."""
    return f"{model}/tv_icl/{task}.parquet"


def dola_path(model: str, questions: str) -> str:
    """Path of DoLa's scores of one model on one question set."""
    return f"{model}/dola/{questions}.parquet"


def premature_layers_path(model: str, questions: str) -> str:
    """Path of the premature layers of one model on one question set; only the release has such files."""
    return f"{model}/premature_layers/{questions}.parquet"


def lens_path(model: str, questions: str) -> str:
    """Path of the logit lens of one model on one question set."""
    return f"{model}/logit_lens/{questions}.parquet"


def apathy_path(model: str, questions: str) -> str:
    """Path of the apathy of one model on one question set."""
    return f"{model}/apathy/{questions}.parquet"


def read_dola(results: Folder, model: str, questions: str) -> pd.DataFrame:
    """DoLa's scores, of schema `DOLA`; the release's are of schema `PUBLISHED_DOLA`."""
    return read_parquet(results / dola_path(model, questions), DOLA, PUBLISHED_DOLA)


def read_premature_layers(results: Folder, model: str, questions: str) -> pd.DataFrame:
    """How often DoLa chose each premature layer: columns `bucket`, `layer`, `tokens` (of all answers, true and false).

    The release has these counts in separate files, for TruthfulQA only. Raises `OffcourseError` for a file without the
    counts.
    """
    path = results / dola_path(model, questions)
    if is_released(read_dola(results, model, questions)):
        return _released_layers(results, premature_layers_path(model, questions))
    chosen = read_unchecked(path, ["question"]).attrs.get("premature_layers")
    if chosen is None:
        raise OffcourseError(f"{path} does not say which layers were chosen. Delete it and run the workflow again.")
    rows = [(bucket, int(layer), tokens) for bucket, layers in chosen.items() for layer, tokens in layers.items()]
    return pd.DataFrame(rows, columns=["bucket", "layer", "tokens"])


def read_targets(results: Folder, model: str, task: str, method: str) -> dict[str, Any]:
    """Counts of the targets of a method's evaluated items, see `targets.spread`.

    Raises `OffcourseError` for a file of prompts without these counts.
    """
    path = results / prompts_path(model, task)
    said = read_unchecked(path, ["kind"]).attrs.get("targets", {})
    if method not in said:
        raise OffcourseError(f"{path} does not say how its targets differ. Delete it and run the workflow again.")
    return said[method]


def is_released(scores: pd.DataFrame) -> bool:
    """Whether scores of answers are the authors', which do not give an answer's number of tokens."""
    return str(scores["tokens"].dtype) == "Int64"


def _released_layers(results: Folder, path: str) -> pd.DataFrame:
    columns = ["bucket", "layer", "tokens"]
    # The release has these counts for TruthfulQA alone.
    if not has(results, path):
        return pd.DataFrame(columns=columns)
    chosen = read_parquet(results / path, PREMATURE_LAYERS)
    # The choice of a layer does not depend on alpha or softmax, so all runs of a bucket have equal counts; one is read.
    return chosen.drop_duplicates(["bucket", "layer"])[columns].reset_index(drop=True)


def read_lens(results: Folder, model: str, questions: str) -> pd.DataFrame:
    """The logit lens, of schema `LOGIT_LENS`."""
    return read_parquet(results / lens_path(model, questions), LOGIT_LENS)


def read_lens_means(results: Folder, model: str, questions: str) -> pd.DataFrame:
    """Mean probability over the questions per layer and line, with a 95 % interval: `LENS_MEANS` and `sources`.

    A study's interval is the normal one. The release's interval is the bootstrap interval that the authors drew. See
    `analysis.sources` for `sources`.
    """
    path = lens_path(model, questions)
    lens = read_parquet(results / path, LOGIT_LENS, LENS_MEANS)
    if "line" in lens:
        rows = lens.itertuples()
        return lens.assign(
            sources=[listed(source("mean", path, {"layer": r.layer, "line": r.line}, r.n, "mean")) for r in rows]
        )
    long = lens.melt(["question", "layer"], ["top", "correct", "incorrect"], "line").astype({"value": float})
    found = long.groupby(["layer", "line"], sort=True)["value"].agg(["mean", "sem", "size"]).reset_index()
    half = 1.96 * found["sem"].fillna(0.0)
    found = found.assign(ci_low=found["mean"] - half, ci_high=found["mean"] + half).rename(columns={"size": "n"})
    rows = found.itertuples()
    found["sources"] = [listed(source("mean", path, {"layer": r.layer}, r.n, r.line)) for r in rows]
    return found[[*LENS_MEANS.columns, "sources"]]


def is_drawn(results: Folder, path: str) -> bool:
    """Whether a result of the logit lens or of apathy holds means that were read from a published figure."""
    return "line" in pq.read_schema(results / path).names


def read_apathy(results: Folder, model: str, questions: str) -> pd.DataFrame:
    """Apathy, of schema `APATHY`; the release has scaled means, of schema `APATHY_MEANS`."""
    return read_parquet(results / apathy_path(model, questions), APATHY, APATHY_MEANS)


def model_path(model: str) -> str:
    """Path of the facts of a model."""
    return f"{model}/model.json"


def read_sweep(results: Folder, model: str, task: str) -> pd.DataFrame:
    """A function-vector sweep, of schema `FV_SWEEP`; the release's is of schema `PUBLISHED_FV_SWEEP`."""
    return _sweep(results / sweep_path(model, task))


def _sweep(path: Path) -> pd.DataFrame:
    sweep = read_parquet(path, FV_SWEEP, PUBLISHED_FV_SWEEP)
    if sweep.empty:
        raise OffcourseError(f"{path} holds no setting. Delete it and run the workflow again.")
    return sweep


def read_steering(results: Folder, method: str, model: str, task: str) -> pd.DataFrame:
    """The sweep of a steering method, of schema `STEERING_SWEEP`."""
    return read_parquet(results / steering_path(method, model, task), STEERING_SWEEP)


def read_answers(results: Folder, method: str, model: str, questions: str) -> pd.DataFrame:
    """The scores of answers under a steering method, of schema `STEERED_ANSWERS`."""
    return read_parquet(results / answers_path(method, model, questions), STEERED_ANSWERS)


def read_accuracy(results: Folder, model: str, task: str) -> pd.DataFrame:
    """The accuracy of every setting and layer of a function-vector sweep, see `recovery.accuracy`."""
    # Cached, since figures and tables of many models ask for one accuracy several times.
    path = results / sweep_path(model, task)
    return _accuracy(path, _changed(path)).copy()


@cache
def _accuracy(path: Path, changed: int) -> pd.DataFrame:
    return recovery.accuracy(_sweep(path))


def _changed(path: Path) -> int:
    """The mtime of a file in nanoseconds; 0 if there is no file, for which the reader raises an error."""
    return path.stat().st_mtime_ns if path.exists() else 0


def read_control_accuracy(results: Folder, model: str, task: str) -> pd.DataFrame:
    """The accuracy of every setting and layer (`control` and `draw` in front).

    Of each draw of each control that should do nothing, and of the function vector read at the other position.
    """
    controls = read_parquet(results / controls_path(model, task), FV_CONTROLS)
    # Crosses and further draws of the build prompts have a table of their own (`tables/off_by_one`).
    shown = controls["control"].isin(NULL_CONTROLS)
    shown |= (controls["control"] == READ_POSITION) & (controls["draw"] == 0)
    parts = [
        recovery.accuracy(mine).assign(control=control, draw=draw)
        for (control, draw), mine in controls[shown].groupby(["control", "draw"], sort=False)
    ]
    if not parts:
        parts = [recovery.accuracy(controls[shown]).assign(control="", draw=0)]
    frame = pd.concat(parts, ignore_index=True)
    return frame[["control", "draw", *frame.columns.drop(["control", "draw"])]]


def read_other_position(results: Folder, model: str, task: str) -> pd.DataFrame:
    """The sweep of the function vector read at the other position (control `read_position`), see `FV_SWEEP`."""
    return read_control(results, model, task, READ_POSITION)


def read_control(results: Folder, model: str, task: str, control: str, draw: int = 0) -> pd.DataFrame:
    """The sweep of one draw of one control, see `FV_SWEEP`. Raises `OffcourseError` for a file that lacks it."""
    path = results / controls_path(model, task)
    controls = read_parquet(path, FV_CONTROLS)
    mine = controls[(controls["control"] == control) & (controls["draw"] == draw)]
    if mine.empty:
        raise OffcourseError(f"{path} holds no draw {draw} of {control}. Delete it and run the workflow again.")
    return mine[list(FV_SWEEP.columns)].reset_index(drop=True)


def read_shots(results: Folder, model: str, task: str) -> pd.Series:
    """The in-context accuracy (0 to 1) of a pair by its number of shots, in rising order."""
    return _shots(results, icl_path(model, task))


def read_tv_shots(results: Folder, model: str, task: str) -> pd.Series:
    """The in-context accuracy (0 to 1) of a pair in the prompts of task vectors.

    Keys: 0 shots, and the number of shots that the vectors are built with.
    """
    return _shots(results, tv_icl_path(model, task))


def _shots(results: Folder, path: str) -> pd.Series:
    shares = _shares_by_shots(results / path, _changed(results / path))
    if 0 not in shares.index:
        raise OffcourseError(f"{results / path} holds no 0-shot item. Delete it and run the workflow again.")
    return shares["accuracy"].copy()


@cache
def _shares_by_shots(path: Path, changed: int) -> pd.DataFrame:
    return recovery.shares(read_parquet(path, ICL, PUBLISHED_ICL), ["shots"])


def items_by_shots(results: Folder, path: str) -> pd.Series:
    """The number of items behind a pair's in-context accuracy, by number of shots. path: from `icl_path`."""
    return _shares_by_shots(results / path, _changed(results / path))["n"].copy()


def read_items(results: Folder, path: str, shots: int) -> int:
    """The number of items behind a pair's in-context accuracy at `shots` shots. path: from `icl_path`."""
    return int(items_by_shots(results, path).loc[shots])


def read_tv_sweep(results: Folder, model: str, task: str) -> pd.DataFrame:
    """Accuracy (0 to 1) of task vectors by layer, with a column per split: `dev` and `test`.

    The release has test accuracy at one layer only, and none for one model; test is NaN elsewhere.
    """
    path = results / tv_sweep_path(model, task)
    return _tv_accuracy(path, _changed(path)).copy()


def read_tv_items(results: Folder, model: str, task: str, split: str) -> int:
    """The number of items behind each layer's accuracy of task vectors in a split (`dev` or `test`)."""
    path = results / tv_sweep_path(model, task)
    return _tv_items(path, _changed(path), split)


# Cached, since the table of switches asks for each of them once per switch.
@cache
def _tv_accuracy(path: Path, changed: int) -> pd.DataFrame:
    return _tv_shares_of(path, changed)["accuracy"].unstack("split").reindex(columns=["dev", "test"])


@cache
def _tv_items(path: Path, changed: int, split: str) -> int:
    return int(_tv_shares_of(path, changed)["n"].xs(split, level="split").max())


@cache
def _tv_shares_of(path: Path, changed: int) -> pd.DataFrame:
    sweep = read_parquet(path, TV_SWEEP, PUBLISHED_TV_SWEEP)
    if sweep.empty:
        raise OffcourseError(f"{path} holds no layer. Delete it and run the workflow again.")
    return recovery.shares(sweep, ["layer", "split"])


def read_model(results: Folder, model: str) -> dict[str, Any]:
    """The facts of `model.json`."""
    path = results / model_path(model)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise OffcourseError(
            f"{path} is not the record of a model ({error}). Delete it and run the workflow again."
        ) from error
    if not isinstance(found, dict):
        raise OffcourseError(f"{path} is not the record of a model. Delete it and run the workflow again.")
    return found
