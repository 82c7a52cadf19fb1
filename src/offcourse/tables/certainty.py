"""The certainty table: how certain the best number of each grid is, which the paper's tables do not say.

It puts three numbers beside each other: the best as published, the best chosen on other items, and the best that luck
alone gives. There is a row per method, model and unit (task or question set), then rows over all model-task pairs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from offcourse.analysis import inference, recovery, selection, truthfulness
from offcourse.analysis.results import (
    Folder,
    cie_path,
    read_control_accuracy,
    read_dola,
    read_items,
    read_model,
    read_premature_layers,
    read_shots,
    read_steering,
    read_tv_shots,
    tv_icl_path,
    tv_sweep_path,
)
from offcourse.analysis.steering_summary import paired_hits
from offcourse.analysis.view import ResultsView
from offcourse.data.effects import rank_heads, rounding_floor, within_floor
from offcourse.data.rows import is_large
from offcourse.schemas.function_vectors import CIE, NULL_CONTROLS
from offcourse.schemas.io import as_table, read_parquet
from offcourse.schemas.results import CERTAINTY
from offcourse.schemas.task_vectors import TV_SWEEP
from offcourse.tables import writing
from offcourse.tables.dola_runs import METRICS, DolaRun, measure
from offcourse.tables.table3 import QUANTILES

PAIRS = "all pairs"
NULLS = {name: name.replace("_", " ") for name in NULL_CONTROLS}
TITLE = "How sure the best of a grid is"
CAPTION = (
    "The best number of each grid, chosen on the items that it is reported on (best) and on the other half of them "
    "(held out), with 95 % intervals, beside what the best of the same grid gives by luck."
)
NOTES = (
    "best: as published, with Wilson's interval. held out: chosen on one half of the items and reported on the other, "
    f"over {selection.HALVINGS} halvings in both directions, with a bootstrap over items, no narrower than Wilson's; "
    "of task vectors the test accuracy at the layer that is best on the development prompts.",
    "gain: best above without steering. by luck: the largest gain of the same grid if steering did nothing, mean and "
    "95 % quantile, and p, how probable one as large as the gain is. For function vectors and DoLa each item's hits "
    "with and without steering are swapped at random, which keeps what the settings have in common. Task vectors are "
    "evaluated on other items than the unsteered prompts, so hits cannot be swapped. Instead one binomial count per "
    "layer is drawn, as if layers were independent; real layers are correlated, so this overstates luck and p is "
    "conservative. The null accuracy is (hits + 1/2) / (items + 1), so that zero hits in a small sample do not imply "
    "zero probability. p (Holm) is corrected for all rows of its method.",
    "effect floor: the largest mean effect that rows without an edit read where function vectors' heads are chosen. "
    "heads within floor: the share of the best setting's heads whose mean effect is no larger, so that rounding chose "
    "them.",
    "random direction, random heads, shuffled labels, other task: the best of the same grid with vectors that should "
    "do nothing, if the study has them; the mean over draws, each of which has a grid of its own.",
    "Rows of all pairs: share of model-task pairs that reach a fraction of few-shot accuracy (Table 3), with an "
    "interval from resampling models and tasks that is no narrower than Wilson's; by luck: the expected share if every "
    "setting had zero-shot accuracy (estimated in the same way), independently of the others.",
)


def write(view: ResultsView, out: Path) -> None:
    """Write `certainty.parquet`, `.csv` and `.md` into `out`, with the rows of every method that the folder has."""
    controls = bool(view.setting("function_vectors.controls"))
    switches = view.switches("dola_mask", "ties", "score_dtype")

    def pairs_of(method: str) -> list[tuple[str, str]]:
        models, tasks = view.scope(method)
        return [(model, task) for model in models for task in tasks]

    found = {}
    if "function_vectors" in view.methods:
        found["function vector"] = [_function_vector(view, *pair, controls) for pair in pairs_of("function_vectors")]
    for name in view.steering:
        found[view.label(name)] = [_steered(view, view.label(name), *pair, name) for pair in pairs_of(name)]
    if "task_vectors" in view.methods:
        found["task vector"] = [_task_vector(view, *pair) for pair in pairs_of("task_vectors")]
    rows = [row for method, pairs in found.items() for row in (*pairs, *_over_pairs(method, pairs))]
    rows += [
        _dola(view, model, *questions, switches) for model in view.scope("dola")[0] for questions in view.forms("dola")
    ]
    table = corrected(as_table(rows, CERTAINTY))
    writing.write_plain(out, "certainty", TITLE, CAPTION, table, CERTAINTY, printed(table), NOTES)


def corrected(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `p_holm`: Holm's correction within each method."""
    known = table["p"].notna()
    corrected = table[known].groupby("method")["p"].transform(lambda p: inference.holm(list(p)))
    return table.assign(p_holm=corrected.reindex(table.index))


def _row(method: str, model: str, on: str, hits: np.ndarray, without: float, few_shot: float) -> dict:
    """The columns that every row has. hits: [settings, items]. without: accuracy without steering."""
    best = hits[hits.sum(1).argmax()]
    low, high = truthfulness.wilson(best)
    found = {"method": method, "model": model, "on": on, "items": hits.shape[1], "settings": len(hits)}
    found |= {"without": without, "few_shot": few_shot, "best": float(best.mean()), "best_low": low, "best_high": high}
    return found


def _held_out(hits: np.ndarray, unit: str) -> dict:
    """Columns of the held-out accuracy: chosen on one half of the items, reported on the other; {} below two items."""
    if hits.shape[1] < 2:
        return {}
    repeated = selection.repetitions("halves", unit, hits.shape[1])
    values = selection.reported(repeated, lambda on: hits[:, on].sum(1).argmax(), hits.__getitem__).mean(0)
    # If all items are alike, a bootstrap has no width, so the interval is at least Wilson's.
    (low, high), alone = inference.over_items(values, unit), truthfulness.wilson(values)
    low, high = min(low, alone[0]), max(high, alone[1])
    return {"held_out": float(values.mean()), "held_out_low": low, "held_out_high": high}


def _by_swapping(base: np.ndarray, hits: np.ndarray, unit: str) -> dict:
    luck = inference.largest_by_swapping(base, hits, unit)
    return {"by_luck": luck.mean, "by_luck_high": luck.high, "p": luck.p}


def _null(accuracy: float, items: int) -> float:
    """The null accuracy of the binomial counts: zero hits in a small sample do not imply zero probability."""
    return (accuracy * items + 0.5) / (items + 1)


def _steered(results: Folder, label: str, model: str, task: str, name: str) -> dict:
    """The row of a method of `offcourse.steering`. label: the method's name in the table."""
    swept = recovery.steering_hits(read_steering(results, name, model, task))
    return _on_queries(results, label, model, task, *paired_hits(results, model, task, swept))


def _on_queries(results: Folder, label: str, model: str, task: str, base: np.ndarray, sweep: pd.DataFrame) -> dict:
    """The row of one method on the queries of function vectors.

    label: the method's name in the table. base, sweep: hits without and with the method, see `paired_hits`.
    """
    hits = sweep.to_numpy(float)
    few_shot = recovery.baseline(read_shots(results, model, task))[1]
    found = _row(label, model, task, hits, float(base.mean()), few_shot)
    found |= _held_out(hits, task) | _by_swapping(base, hits, task)
    found["null"] = _null(found["without"], len(base))
    return found


def _function_vector(results: Folder, model: str, task: str, controls: bool) -> dict:
    base, sweep = paired_hits(results, model, task)
    found = _on_queries(results, "function vector", model, task, base, sweep)
    best = dict(zip(sweep.index.names, sweep.index[sweep.to_numpy().sum(1).argmax()], strict=True))
    cie = read_parquet(results / cie_path(model, task), CIE)
    chosen = rank_heads(cie)[: int(best["n_heads"])]
    found |= {"floor": rounding_floor(cie), "within_floor": within_floor(cie, chosen) / len(chosen)}
    if controls:
        largest = read_control_accuracy(results, model, task).groupby(["control", "draw"])["accuracy"].max()
        means = largest.groupby("control").mean()
        found |= {name: float(means[name]) for name in NULL_CONTROLS if name in means}
    return found


def _task_vector(results: Folder, model: str, task: str) -> dict:
    sweep = read_parquet(results / tv_sweep_path(model, task), TV_SWEEP)
    dev, test = (
        sweep[sweep["split"] == split].pivot(index="layer", columns="item", values="hit").to_numpy(float)
        for split in ("dev", "test")
    )
    shots = read_tv_shots(results, model, task)
    without, few_shot = float(shots.loc[0]), float(shots.iloc[-1])
    found = _row("task vector", model, task, dev, without, few_shot)
    reported = test[dev.sum(1).argmax()]
    low, high = truthfulness.wilson(reported)
    found |= {"held_out": float(reported.mean()), "held_out_low": low, "held_out_high": high}
    null = _null(without, read_items(results, tv_icl_path(model, task), 0))
    luck = inference.largest_of_independent(null, dev.shape[1], len(dev), found["best"])
    return found | {"by_luck": luck.mean - null, "by_luck_high": luck.high - null, "p": luck.p, "null": null}


def _dola(results: Folder, model: str, questions: str, form: str, switches: Mapping[str, str]) -> dict:
    """The row of DoLa: the whole grid of buckets and alphas, by MC1 or (FACTOR) by accuracy."""
    removed, exact = switches["dola_mask"] == "removed", switches["score_dtype"] == "float64"
    metrics = truthfulness.per_question(read_dola(results, model, questions), removed, exact)
    lead = measure(METRICS[form][0], switches["ties"] == "shared")
    large = is_large(read_model(results, model)["parameters"])
    premature = read_premature_layers(results, model, questions)
    run = DolaRun(model, questions, metrics, large, premature, lead, "same_items", removed, exact)
    grid = [(bucket, alpha, "softmax") for bucket in run.buckets for alpha in run.alphas]
    hits = np.stack([run.at(*setting)[lead].to_numpy(float) for setting in grid])
    base = run.at("", 0.0, "base")[lead].to_numpy(float)
    found = _row("DoLa", model, questions, hits, float(base.mean()), float("nan"))
    return found | _held_out(hits, questions) | _by_swapping(base, hits, questions)


def _over_pairs(method: str, pairs: Sequence[Mapping]) -> list[dict]:
    """Rows over all pairs: shares that reach each fraction of few-shot accuracy, for best, held out and controls."""
    frame = pd.DataFrame(pairs)
    luck = frame[["null", "few_shot", "items", "settings"]].rename(columns={"null": "zero_shot"})
    rows = []
    for quantile in QUANTILES:
        row = {"method": f"{method}, pairs", "model": PAIRS, "on": f"at least {quantile:.2f} of few-shot"}
        row |= {"items": len(frame), "settings": int(frame["settings"].max())}
        for name in ("best", "held_out", *NULL_CONTROLS):
            if name not in frame or frame[name].isna().any():
                continue
            compared = zip(frame[name], frame["few_shot"], strict=True)
            reached = [float(recovery.reaches(value, quantile, few)) for value, few in compared]
            row[name] = float(np.mean(reached))
            if name in NULL_CONTROLS:
                continue
            wide = frame.assign(reached=reached).pivot(index="model", columns="on", values="reached")
            row[f"{name}_low"], row[f"{name}_high"] = inference.share_of_pairs(wide, "pairs")
        rows.append(row | {"by_luck": inference.pairs_by_luck(luck, quantile) / len(frame)})
    return rows


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text: digits that the number of items supports, intervals in brackets, nothing for no number."""
    rows = list(table.itertuples())

    def number(row, name: str) -> str:
        value = getattr(row, name)
        return "" if pd.isna(value) else f"{value:.{writing.digits(row.items, 3)}f}"

    def interval(row, name: str) -> str:
        value, low, high = (number(row, f"{name}{end}") for end in ("", "_low", "_high"))
        return value and f"{value} [{low}, {high}]"

    def gain(row) -> str:
        value = row.best - row.without
        return "" if pd.isna(value) else f"{value:.{writing.digits(row.items, 3)}f}"

    def luck(row) -> str:
        high = number(row, "by_luck_high")
        return number(row, "by_luck") + (f" ({high})" if high else "")

    return pd.DataFrame(
        {
            "model": [row.model for row in rows],
            "on": [row.on for row in rows],
            "n": [str(row.items) for row in rows],
            "without": [number(row, "without") for row in rows],
            "few-shot": [number(row, "few_shot") for row in rows],
            "best": [interval(row, "best") for row in rows],
            "gain": [gain(row) for row in rows],
            "held out": [interval(row, "held_out") for row in rows],
            "by luck (95 %)": [luck(row) for row in rows],
            "p (Holm)": ["" if pd.isna(p) else f"{p:.2g}" for p in table["p_holm"]],
            "effect floor": ["" if pd.isna(floor) else f"{floor:.1g}" for floor in table["floor"]],
            "heads within floor": ["" if pd.isna(share) else f"{share:.0%}" for share in table["within_floor"]],
            # Controls have columns only in a study with controls.
            **{NULLS[name]: [number(row, name) for row in rows] for name in NULL_CONTROLS if table[name].notna().any()},
        },
    ).set_index(table["method"].rename("method"))
