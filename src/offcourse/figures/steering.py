"""Accuracy of a steering method against layer, a page per model, a panel per task and a line per strength."""

from collections.abc import Sequence

import pandas as pd
import pandera.pandas as pa
import seaborn as sns
from matplotlib.axes import Axes

from offcourse.analysis import recovery
from offcourse.analysis.results import Folder, icl_path, read_shots, read_steering, steering_path
from offcourse.analysis.sources import listed, source
from offcourse.analysis.view import ResultsView
from offcourse.figures import by_layer, style

NUMBERS = by_layer.schema(task=pa.Column(str), strength=pa.Column(float))


def numbers(results: Folder, method: str, model: str, tasks: Sequence[str]) -> pd.DataFrame:
    """The drawn numbers of one model's page, of schema `NUMBERS`."""
    parts = []
    for task in tasks:
        shots = read_shots(results, model, task)
        found = read_steering(results, method, model, task).groupby(["strength", "layer"])["hit"]
        frame, swept = found.agg(accuracy="mean", n="size").reset_index(), steering_path(method, model, task)
        lines, entries = by_layer.without_vector(results, icl_path(model, task), shots, recovery.baseline(shots)[0])
        sources = [
            listed(source("accuracy", swept, {"strength": row.strength, "layer": row.layer}, row.n), *entries)
            for row in frame.itertuples()
        ]
        parts.append(frame.assign(task=task, **lines, sources=sources))
    return pd.concat(parts, ignore_index=True)[list(NUMBERS.columns)]


def page(view: ResultsView, shown: style.Shown) -> style.Page:
    """The page of one model: a panel per task; accuracies without a vector are horizontal lines."""
    [method], model = view.steering, shown["model"]
    tasks, label = view.tasks(method), view.label(method)
    drawn = numbers(view, method, model, tasks)
    title = f"{view.cell('models', 'label', model)}: {label}"
    if drawn["layer"].nunique() == 1:
        # All layers at once, or none: the strengths are all that differs.
        look = {"color": style.BLUE, "marker": "o"}

        def put(axes: Axes, mine: pd.DataFrame) -> None:
            style.line(axes, mine.sort_values("strength"), "strength", "accuracy", **look)

        return by_layer.page(drawn, NUMBERS, tasks, title, "strength", {f"with {label}": look}, put, "strength")

    strengths = sorted(drawn["strength"].unique())
    # The palest of seaborn's blues do not stand out from the paper.
    shades = sns.color_palette("Blues", len(strengths) + 2).as_hex()[2:]
    looks = {strength: {"color": shade} for strength, shade in zip(strengths, shades, strict=True)}

    def put_each(axes: Axes, mine: pd.DataFrame) -> None:
        for strength, setting in mine.groupby("strength"):
            style.line(axes, setting, "layer", "accuracy", **looks[strength])

    lines = {f"strength {strength:g}": look for strength, look in looks.items()}
    return by_layer.page(drawn, NUMBERS, tasks, title, "steered layer", lines, put_each)
