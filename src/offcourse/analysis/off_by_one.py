"""What reading heads one token early does to a function vector: both tokens and both halves, item by item.

A run is one model, task and draw of the build prompts. Its four vectors differ in the token at which heads are chosen
and in that at which their mean outputs are read, and in nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from offcourse.analysis import inference, recovery
from offcourse.analysis.results import Folder, read_control, read_model, read_shots, read_sweep
from offcourse.analysis.steering_summary import paired_hits
from offcourse.analysis.truthfulness import wilson
from offcourse.data.prompts import BUILD_SEED, reads_early
from offcourse.schemas.function_vectors import OTHER_HEADS, OTHER_MEANS, READ_POSITION, REBUILT
from offcourse.schemas.io import typed
from offcourse.schemas.results import OFF_BY_ONE

LAST, EARLY, EARLY_HEADS, EARLY_MEANS = "last", "one_early", "early_heads", "early_means"
# Whether heads are chosen, and means read, one token early.
VECTORS = {LAST: (False, False), EARLY: (True, True), EARLY_HEADS: (True, False), EARLY_MEANS: (False, True)}
# The control that has heads chosen, and means read, at the position that the study does not read.
CONTROL_OF = {(True, True): READ_POSITION, (True, False): OTHER_HEADS, (False, True): OTHER_MEANS}

BREAKS = "breaks the vector"
MENDS = "makes the vector better"
UNSHOWN = "no difference shown"
SILENT = "says nothing: the vector does not work at the last token either"
LEVEL = 0.05


def off_by_one(
    results: Folder,
    labels: Mapping[str, str],
    tasks: Sequence[str],
    position: str,
    controls: Sequence[str],
    draws: int,
) -> pd.DataFrame:
    """A row per model, task, draw of the build prompts and vector of `VECTORS`, under `OFF_BY_ONE`.

    `accuracy` is the best of the whole grid, at `n_heads`, `strength` and `layer`, with Wilson's interval; `control`
    says whose sweep that is, "" for the study's own. `difference` is that of `last` less the row's own, with its
    bootstrap interval (`inference.difference_of_best`) and `p` (`inference.best_differs`). In a row of `last`,
    `p` is that of its gain over the model without a vector (`inference.largest_by_swapping`), and `difference` that
    gain. `p_holm` is corrected over all runs, for each vector by itself.

    labels: of the models, by name. position: the study's `head_read_position`. controls, draws: of its function
    vectors. Without the controls of the halves a run has the vectors `last` and `one_early` alone, and without
    `rebuilt` the study's own draw alone.
    """
    seeds = range(draws if REBUILT in controls else 1)
    found = [
        {"label": label, **row}
        for model, label in labels.items()
        for task in tasks
        for draw in seeds
        for row in _run(results, model, task, draw, position, controls)
    ]
    frame = pd.DataFrame(found, columns=[name for name in OFF_BY_ONE.columns if name not in ("p_holm", "verdict")])
    frame["p_holm"] = frame.groupby("vector")["p"].transform(lambda p: inference.holm(list(p)))
    works = frame[frame["vector"] == LAST].set_index(["model", "task", "seed"])
    frame["verdict"] = [_verdict(row, works.loc[(row.model, row.task, row.seed)]) for row in frame.itertuples()]
    return typed(frame, OFF_BY_ONE)


def _run(
    results: Folder, model: str, task: str, draw: int, position: str, controls: Sequence[str]
) -> Iterator[dict[str, object]]:
    adds_bos = read_model(results, model)["adds_bos"]
    early = reads_early(position, adds_bos)
    base, _ = paired_hits(results, model, task)
    shots, few_shot = recovery.baseline(read_shots(results, model, task))
    unit, hits, controls_of = f"{task} {BUILD_SEED + draw}", {}, {}
    for vector, read in VECTORS.items():
        other = tuple(token != early for token in read)
        control = CONTROL_OF.get(other, REBUILT if draw else "")
        if control and control not in controls:
            continue
        sweep = read_control(results, model, task, control, draw) if control else read_sweep(results, model, task)
        hits[vector], controls_of[vector] = recovery.hits(sweep), control
    for vector, grid in hits.items():
        at = grid.sum(axis=1).idxmax()
        best = grid.loc[at].to_numpy(float)
        low, high = wilson(best)
        row = {"model": model, "adds_bos": adds_bos, "task": task, "seed": BUILD_SEED + draw, "vector": vector}
        row |= {"items": grid.shape[1], "settings": len(grid), "shots": shots, "few_shot": few_shot}
        row |= {"control": controls_of[vector], **dict(zip(grid.index.names, at, strict=True))}
        row |= {"without": base.mean(), "accuracy": best.mean(), "low": low, "high": high}
        one, other = hits[LAST].to_numpy(float), grid.to_numpy(float)
        if vector == LAST:
            other, p = base[None], inference.largest_by_swapping(base, one, unit).p
        else:
            p = inference.best_differs(one, other, unit)
        ends = inference.difference_of_best(one, other, unit)
        difference = one.mean(1).max() - other.mean(1).max()
        yield row | {"difference": difference, "difference_low": ends.low, "difference_high": ends.high, "p": p}


def _verdict(row, works: pd.Series) -> str:
    """By rule, from the corrected p of this row and of the gain at the last token."""
    if works["p_holm"] >= LEVEL or works["difference"] <= 0:
        return SILENT
    if row.vector == LAST:
        return "works"
    if row.p_holm >= LEVEL or np.isclose(row.difference, 0):
        return UNSHOWN
    return BREAKS if row.difference > 0 else MENDS
