"""The verdict on a steering method for one model and task, in one of five words that each follow from a test.

Accuracies are held out whatever the protocol says: settings are chosen on one half of the items and reported on the
other (`analysis.selection`), since a verdict must not be optimistic. Differences are paired over items; their 95 %
intervals are bootstraps over items, and p-values swap the two sides of an item at random.

Luck is the best of the controls and of doing nothing, chosen on held-out items from one grid. Without controls it is
doing nothing, and the p-value is that of the grid's largest gain (`inference.largest_by_swapping`). Prompting is the
best of the few-shot demonstrations and of the method `prompting` where the study has it, chosen in the same way.
p-values are corrected (Holm) over the rows of a method.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pandera.pandas as pa

from offcourse.analysis import inference, recovery
from offcourse.analysis.inference import Interval
from offcourse.analysis.results import (
    Folder,
    draws_path,
    has,
    icl_path,
    precisions_path,
    read_shots,
    read_steering,
    side_effects_path,
    steering_controls_path,
    steering_path,
)
from offcourse.analysis.selection import Direction, repetitions, reported
from offcourse.errors import OffcourseError
from offcourse.schemas.function_vectors import (
    ICL,
    NEUTRAL,
    SIDE_EFFECTS,
    STEERING_CONTROLS,
    STEERING_DRAWS,
    STEERING_PRECISIONS,
)
from offcourse.schemas.io import read_parquet

WORKS = "works"
HARMS = "works but harms"
NO_BETTER_THAN_PROMPTING = "no better than prompting"
NO_BETTER_THAN_LUCK = "no better than luck"
UNSURE = "cannot be told with this many items"
WORDS = (WORKS, HARMS, NO_BETTER_THAN_PROMPTING, NO_BETTER_THAN_LUCK, UNSURE)

# A difference in accuracy that counts. On the paper's fifty items, a difference that is 0 on every item has an interval
# up to 0.07, so no number of equal items of that size could exclude a smaller margin. Five items of fifty can matter.
MARGIN = 0.1
# The ratio of perplexities on neutral passages that counts as harm. Rounding weights to four bits, which is widely
# accepted, usually costs less than this.
PERPLEXITY = 1.1
# Nats per token. A float holds exp(700), 1e304, and hardly more.
LARGEST = 700.0
LEVEL = 0.05
PROMPTING = "prompting"


class Estimate(NamedTuple):
    """A number with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(np.nan, np.nan, np.nan)
# Numbers with an interval: the columns {name}, {name}_low and {name}_high.
ESTIMATES = ("gain", "over_luck", "over_prompting", "perplexity_ratio", "elsewhere")
_FLOAT, _MAYBE = pa.Column(float), pa.Column(float, nullable=True)
_P = pa.Column(float, pa.Check.in_range(0, 1), nullable=True)
# strength, layer: the best setting over all items; side effects, draws and broken items are measured in it.
# Accuracies are 0 to 1. steered, prompting, control: held out. over_luck, over_prompting: differences in accuracy.
# elsewhere: change of accuracy on the study's other tasks with demonstrations. divergence: mean over passages, in nats.
# broken: share of the items that the unsteered model answers and the steered one does not, of this task without
# demonstrations; broken_elsewhere: of the other tasks with demonstrations. spread: largest less smallest accuracy over
# draws of prompts; cosine: mean over pairs of draws; flips: share of items whose hit is not the same in all draws.
# precision: the study's own, empty if it was compared with no other. float32, bfloat16, float16: accuracy in that
# precision, in the best setting over all items. precision_cosine: smallest of another precision's vectors with the
# study's; precision_flips: share of items whose hit is not the same in all precisions. layers: how many were steered
# one after the other; 1 if all were steered at once, or none.
PRECISIONS = ("float32", "bfloat16", "float16")
VERDICTS = pa.DataFrameSchema(
    {
        "model": pa.Column(str),
        "method": pa.Column(str),
        "task": pa.Column(str),
        "items": pa.Column(int, pa.Check.gt(0)),
        "strength": _FLOAT,
        "layer": pa.Column(int),
        "layers": pa.Column(int),
        "unsteered": _FLOAT,
        "steered": _FLOAT,
        "few_shot": _FLOAT,
        "prompting": _FLOAT,
        "control": _MAYBE,
        **{f"{name}{end}": _MAYBE for name in ESTIMATES for end in ("", "_low", "_high")},
        "p_luck": _P,
        "p_prompting": _P,
        "divergence": _FLOAT,
        "broken": _MAYBE,
        "broken_elsewhere": _MAYBE,
        "draws": pa.Column(int, pa.Check.gt(0)),
        "spread": _MAYBE,
        "cosine": _MAYBE,
        "flips": _MAYBE,
        "precision": pa.Column(str, pa.Check.isin(("", *PRECISIONS))),
        **dict.fromkeys((*PRECISIONS, "precision_cosine", "precision_flips"), _MAYBE),
        "p_luck_holm": _P,
        "p_prompting_holm": _P,
        "verdict": pa.Column(str, pa.Check.isin(WORDS)),
    },
    strict=True,
    ordered=True,
)


def verdicts(
    results: Folder, scopes: dict[str, tuple[Sequence[str], Sequence[str]]], labels: dict[str, str]
) -> pd.DataFrame:
    """A row per method, model and task, of schema `VERDICTS`.

    scopes: {method of `offcourse.steering`: (models, tasks)}. labels: {method: its name in the table}.
    """
    rows = [
        _row(results, name, model, task) | {"method": labels[name]}
        for name, (models, tasks) in scopes.items()
        for model in models
        for task in tasks
    ]
    return VERDICTS.validate(decided(pd.DataFrame(rows), verdict)[list(VERDICTS.columns)])


def decided(frame: pd.DataFrame, word: Callable[[dict], str]) -> pd.DataFrame:
    """Rows of verdicts with p-values corrected over the rows of each method, and with the verdict that `word` gives."""
    corrected = {f"{name}_holm": frame.groupby("method")[name].transform(_holm) for name in ("p_luck", "p_prompting")}
    frame = frame.assign(**corrected)
    return frame.assign(verdict=[word(row) for row in frame.to_dict("records")])


def _holm(p_values: pd.Series) -> pd.Series:
    """p-values of one method, corrected by Holm's procedure; a missing one stays missing."""
    known = p_values.notna()
    return p_values.where(~known, pd.Series(inference.holm(p_values[known].tolist()), p_values.index[known]))


def verdict(row: dict) -> str:
    """The word that the numbers of a row support, see the module's text.

    row: a row of `VERDICTS` without its verdict; `over_prompting` is missing for a method that is itself prompting.
    """
    if row["over_luck_high"] < MARGIN or (row["gain"] <= 0 and row["gain_high"] < MARGIN):
        return NO_BETTER_THAN_LUCK
    if not (row["p_luck_holm"] < LEVEL and row["over_luck"] > 0 and row["gain_low"] > 0):
        return UNSURE
    if not np.isnan(row["over_prompting"]):
        if row["over_prompting_high"] < MARGIN:
            return NO_BETTER_THAN_PROMPTING
        if not (row["p_prompting_holm"] < LEVEL and row["over_prompting"] > 0):
            return UNSURE
    if not row["perplexity_ratio_low"] <= PERPLEXITY or row["elsewhere_high"] < -MARGIN:
        return HARMS
    return WORKS


def setting(strength: float, layer: int, layers: int) -> str:
    """The setting of a row in words. A method that steers all layers at once, or none, has no layer to name.

    layers: how many were swept, which may be fewer than the model has.
    """
    return f"strength {strength:g}" + (f", layer {layer} ({layers} swept)" if layers > 1 else "")


def paired(results: Folder, name: str, model: str, task: str) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """(hits of the sweep [settings, items], hits without steering [items], held-out hits with steering [items])."""
    swept = recovery.steering_hits(read_steering(results, name, model, task))
    base = _without(results, model, task, 0, swept.columns)
    return swept, base, held_out(swept.to_numpy(float), halves(task, len(base)))


def halves(task: str, items: int) -> list[list[Direction]]:
    """The halvings of a task's items. One item cannot be halved; its interval is then everything that is possible."""
    return repetitions("halves" if items > 1 else "same_items", task, items)


def _without(results: Folder, model: str, task: str, shots: int, items: pd.Index) -> np.ndarray:
    """[items] hits without a vector. Raises `OffcourseError` for other items than those of a sweep."""
    path = icl_path(model, task)
    icl = read_parquet(results / path, ICL)
    hits = icl[icl["shots"] == shots].set_index("item")["hit"]
    if sorted(hits.index) != sorted(items):
        raise OffcourseError(f"{path} has other items than the sweeps. Delete both and run the workflow again.")
    return hits.loc[items].to_numpy(float)


def _row(results: Folder, name: str, model: str, task: str) -> dict:
    swept, base, steered = paired(results, name, model, task)
    items, repeated = swept.columns, halves(task, swept.shape[1])
    shots, few_shot = recovery.baseline(read_shots(results, model, task))
    prompting = held_out(prompted(results, model, task, shots, items), repeated)
    found = {"model": model, "task": task, "few_shot": few_shot, "control": np.nan}
    found["layers"] = swept.index.get_level_values("layer").nunique()
    luck = None
    if has(results, path := steering_controls_path(name, model, task)):
        controls = recovery.steering_hits(read_parquet(results / path, STEERING_CONTROLS), "control")
        controls = same_items(controls, items, path)
        luck = held_out(np.concatenate([base[None], controls]), repeated)
        found["control"] = held_out(controls, repeated).mean()
    against = None if name == PROMPTING else prompting
    found |= compared(base, swept.to_numpy(float), steered, against, task, luck) | {"prompting": prompting.mean()}
    found |= side_effects(results, name, model, task, swept, base)
    return found | _draws(results, name, model, task) | _precisions(results, name, model, task)


def compared(
    base: np.ndarray,
    grid: np.ndarray,
    steered: np.ndarray,
    prompting: np.ndarray | None,
    unit: str,
    luck: np.ndarray | None = None,
) -> dict[str, float]:
    """The numbers of a row, paired over items.

    base: [items] without steering. grid: [settings, items] of everything that was tried. steered: [items], held out.
    prompting: [items], held out; None where nothing is compared. unit: the task or question set, which keys the draws.
    luck: [items], the best of controls and of doing nothing, held out; None without controls.
    """
    gain = difference(steered - base, unit)
    found = {"items": len(base), "unsteered": base.mean(), "steered": steered.mean(), **spread("gain", gain)}
    if luck is None:
        found |= {**spread("over_luck", gain), "p_luck": inference.largest_by_swapping(base, grid, unit).p}
    else:
        found |= {**spread("over_luck", difference(steered - luck, unit))}
        found["p_luck"] = inference.above_zero(steered - luck, unit)
    if prompting is None:
        return found | {"prompting": np.nan, "p_prompting": np.nan, **spread("over_prompting", UNKNOWN)}
    found |= {"prompting": prompting.mean(), **spread("over_prompting", difference(steered - prompting, unit))}
    return found | {"p_prompting": inference.above_zero(steered - prompting, unit)}


def prompted(results: Folder, model: str, task: str, shots: int, items: pd.Index) -> np.ndarray:
    """[settings, items] hits of demonstrations alone, and of the method `prompting` where the study has it.

    Raises `OffcourseError` for other items than `items`.
    """
    found = [_without(results, model, task, shots, items)[None]]
    if has(results, path := steering_path(PROMPTING, model, task)):
        found.append(same_items(recovery.steering_hits(read_steering(results, PROMPTING, model, task)), items, path))
    return np.concatenate(found)


def same_items(hits: pd.DataFrame, items: pd.Index, path: str) -> np.ndarray:
    """[settings, items] hits over the items of the method's sweep. Raises `OffcourseError` for other items."""
    if hits.columns.tolist() != items.tolist():
        raise OffcourseError(f"{path} has other items than the sweep. Delete both and run the workflow again.")
    return hits.to_numpy(float)


def held_out(hits: np.ndarray, repeated: Sequence[Sequence[Direction]]) -> np.ndarray:
    """[items]: how often each item is hit in settings that were chosen without it. hits: [settings, items]."""
    return reported(repeated, lambda chosen_on: hits[:, chosen_on].sum(1).argmax(), hits.__getitem__).mean(0)


def difference(differences: np.ndarray, unit: str) -> Estimate:
    """The mean of paired differences of accuracy, [items] of -1 to 1, with its interval over items."""
    if len(differences) < 2:
        return Estimate(float(differences.mean()), -1.0, 1.0)
    return Estimate(float(differences.mean()), *inference.difference_over_items(differences, unit))


def perplexity_ratio(passages: pd.DataFrame) -> Estimate:
    """Perplexity of all continuations with the edit over that without, at most exp(`LARGEST`).

    passages: rows of `SIDE_EFFECTS`.
    """
    lost = (passages["unsteered"] - passages["steered"]).to_numpy(float)
    tokens = passages["tokens"].to_numpy(float)
    ends: Interval = inference.ratio_over_items(lost, tokens, NEUTRAL)
    return Estimate(*(float(np.exp(min(each, LARGEST))) for each in (lost.sum() / tokens.sum(), *ends)))


def side_effects(results: Folder, name: str, model: str, task: str, swept: pd.DataFrame, base: np.ndarray) -> dict:
    """The columns of side effects of one row."""
    table = read_parquet(results / side_effects_path(name, model, task), SIDE_EFFECTS)
    passages, others = table[table["on"] == NEUTRAL], table[table["on"] != NEUTRAL]
    [(strength, layer)] = set(zip(table["strength"], table["layer"], strict=True))
    changes = (others["steered"] - others["unsteered"]).to_numpy(float)
    elsewhere = difference(changes, f"{task}, other tasks") if len(changes) else UNKNOWN
    found = {"strength": strength, "layer": int(layer), **spread("perplexity_ratio", perplexity_ratio(passages))}
    return found | {
        **spread("elsewhere", elsewhere),
        "divergence": passages["divergence"].mean(),
        "broken": _broken(base, swept.loc[(strength, layer)].to_numpy(float)),
        "broken_elsewhere": _broken(others["unsteered"].to_numpy(), others["steered"].to_numpy()),
    }


def _broken(before: np.ndarray, after: np.ndarray) -> float:
    return float(1 - after[before == 1].mean()) if (before == 1).any() else np.nan


def _draws(results: Folder, name: str, model: str, task: str) -> dict:
    if not has(results, path := draws_path(name, model, task)):
        return {"draws": 1, "spread": np.nan, "cosine": np.nan, "flips": np.nan}
    table = read_parquet(results / path, STEERING_DRAWS)
    hits = table.pivot(index="draw", columns="item", values="hit").astype(float)
    accuracy = hits.mean(axis=1)
    return {
        "draws": len(hits),
        "spread": accuracy.max() - accuracy.min(),
        "cosine": table.groupby("draw")["cosine"].first().mean(),
        "flips": (hits.nunique() > 1).mean(),
    }


def _precisions(results: Folder, name: str, model: str, task: str) -> dict:
    missing = dict.fromkeys((*PRECISIONS, "precision_cosine", "precision_flips"), np.nan)
    if not has(results, path := precisions_path(name, model, task)):
        return {"precision": "", **missing}
    table = read_parquet(results / path, STEERING_PRECISIONS)
    own = table["precision"].iloc[0]
    hits = table.pivot(index="precision", columns="item", values="hit").astype(float)
    return {
        "precision": own,
        **missing,
        **hits.mean(axis=1).to_dict(),
        "precision_cosine": table.loc[table["precision"] != own, "cosine"].min(),
        "precision_flips": (hits.nunique() > 1).mean(),
    }


def spread(name: str, found: Estimate) -> dict[str, float]:
    """The columns {name}, {name}_low and {name}_high of a number."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))
