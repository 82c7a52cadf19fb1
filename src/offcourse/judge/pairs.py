"""The numbers of a card, a row per model and task."""

from typing import Any

import numpy as np

from offcourse.analysis import inference, selection
from offcourse.analysis.results import read_shots, read_steering
from offcourse.analysis.steering_summary import paired_hits
from offcourse.judge.asked import BASELINE, Asked
from offcourse.layout import Layout
from offcourse.tables.methods import hits


def rows(asked: Asked, layout: Layout) -> list[dict[str, Any]]:
    """A row per model and task, of plain JSON values."""
    return [_row(asked, layout, model, task) for model in asked.models for task in asked.tasks]


def _row(asked: Asked, layout: Layout, model: str, task: str) -> dict[str, Any]:
    results = layout.results
    base, swept = paired_hits(results, model, task, hits(read_steering(results, asked.method, model, task)))
    _, prompted = paired_hits(results, model, task, hits(read_steering(results, BASELINE, model, task)))
    luck = inference.largest_by_swapping(base, swept.to_numpy(), task)
    halves = selection.repetitions("halves", task, len(base))

    def held_out(grid) -> np.ndarray:
        values = grid.to_numpy()
        choose = lambda on: values[:, on].sum(1).argmax()  # noqa: E731 - as analysis.selection writes it
        return selection.reported(halves, choose, values.__getitem__).mean(0)

    gains, against = held_out(swept) - base, held_out(swept) - held_out(prompted)
    ends, behind = (inference.over_items(values, task, (-1.0, 1.0)) for values in (gains, against))
    strength, layer = swept.mean(1).idxmax()
    return {
        "model": model,
        "task": task,
        "verdict": _word(gains.mean(), luck.p, behind),
        "unsteered": float(base.mean()),
        "steered": float(base.mean() + gains.mean()),
        "gain": float(gains.mean()),
        "gain_low": ends.low,
        "gain_high": ends.high,
        "luck_p": luck.p,
        "prompting": float(held_out(prompted).mean()),
        "few_shot": float(read_shots(results, model, task).iloc[-1]),
        "strength": float(strength),
        "layer": int(layer),
        "items": len(base),
    }


def _word(gain: float, p: float, behind: inference.Interval) -> str:
    if p >= 0.05:
        return "no better than luck"
    return "works" if behind.low > 0 else "no better than prompting"
