"""What steering methods gain, against what they cost: a point per method and model."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pandera.pandas as pa
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import NullFormatter

from offcourse.analysis import verdicts
from offcourse.analysis.results import Folder, icl_path, side_effects_path
from offcourse.analysis.sources import listed, source
from offcourse.analysis.view import ResultsView
from offcourse.figures import style
from offcourse.schemas.function_vectors import NEUTRAL, SIDE_EFFECTS
from offcourse.schemas.io import read_parquet

# gain: of accuracy over the unsteered model, held out. harm: ratio of perplexities on neutral passages. Both over all
# tasks of the method. `sources` leads to the accuracy without steering (`unsteered`).
NUMBERS = pa.DataFrameSchema(
    {
        "model": pa.Column(str),
        "method": pa.Column(str),
        "tasks": pa.Column(int),
        "items": pa.Column(int),
        "passages": pa.Column(int),
        "unsteered": pa.Column(float),
        **{f"{name}{end}": pa.Column(float) for name in ("gain", "harm") for end in ("", "_low", "_high")},
        "sources": pa.Column(str),
    },
    strict=True,
    ordered=True,
)
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p", "h")
STAR = "*"


def numbers(results: Folder, name: str, model: str, tasks: Sequence[str]) -> dict:
    """The row of `NUMBERS` of one method and model.

    Items of all tasks count alike. Passages are the same for all tasks, so a passage's losses are added over tasks, and
    passages are drawn.
    """
    bases, gains, aside = [], [], []
    for task in tasks:
        _, base, steered = verdicts.paired(results, name, model, task)
        bases.append(base)
        gains.append(steered - base)
        table = read_parquet(results / side_effects_path(name, model, task), SIDE_EFFECTS)
        aside.append(table[table["on"] == NEUTRAL].set_index("item")[["unsteered", "steered", "tokens"]])
    gain = verdicts.difference(np.concatenate(gains), ", ".join(tasks))
    harm = verdicts.perplexity_ratio(sum(aside[1:], aside[0]))
    entries = [
        source("unsteered", icl_path(model, task), {"shots": 0}, len(base), group=task)
        for task, base in zip(tasks, bases, strict=True)
    ]
    return {
        "model": model,
        "method": name,
        "tasks": len(tasks),
        "items": sum(map(len, bases)),
        "passages": len(aside[0]),
        "unsteered": float(np.mean([base.mean() for base in bases])),
        **dict(zip(("gain", "gain_low", "gain_high"), gain, strict=True)),
        **dict(zip(("harm", "harm_low", "harm_high"), harm, strict=True)),
        "sources": listed(*entries),
    }


def page(view: ResultsView, shown: style.Shown) -> style.Page:
    """A colour per method and, with several models, a marker per model; prompting is a star in ink."""
    scopes = {name: view.scope(name) for name in view.steering}
    rows = [numbers(view, name, model, tasks) for name, (models, tasks) in scopes.items() for model in models]
    drawn = pd.DataFrame(rows)[list(NUMBERS.columns)]
    models, methods = list(drawn["model"].unique()), [name for name in scopes if name != verdicts.PROMPTING]
    looks = {
        name: (colour, "")
        for name, colour in zip(methods, sns.color_palette("colorblind", len(methods)).as_hex(), strict=True)
    }
    looks |= {verdicts.PROMPTING: (style.INK, STAR)} if verdicts.PROMPTING in scopes else {}
    shapes = {model: MARKERS[index % len(MARKERS)] for index, model in enumerate(models)}
    names = dict(zip(models, view.model_labels(models), strict=True))

    def compose(canvas: FigureBase) -> None:
        panel = canvas.subplots()
        for row in drawn.itertuples():
            colour, marker = looks[row.method]
            _point(panel, row, colour, marker or shapes[row.model])
        panel.axvline(0, color=style.GREY, linewidth=0.6, zorder=0)
        panel.axhline(1, color=style.GREY, linewidth=0.6, zorder=0)
        set_ratios(panel, drawn["harm_low"].min(), drawn["harm_high"].max())
        panel.set(
            xlabel="gain in accuracy on the tasks, held out", ylabel="ratio of perplexities, neutral passages (log)"
        )
        said = [(view.label(name), colour, marker or "o") for name, (colour, marker) in looks.items()]
        said += [(names[model], style.GREY, marker) for model, marker in shapes.items()] if len(models) > 1 else []
        handles = [
            panel.plot([], [], marker, color=colour, markersize=_size(marker), label=text)[0]
            for text, colour, marker in said
        ]
        canvas.legend(handles=handles, loc="outside upper center", ncols=min(3, len(said)), handletextpad=0.3)
        items, passages = style.span(drawn["items"]), style.span(drawn["passages"])
        style.note(canvas, f"95% intervals over {items} items (gain) and {passages} passages (perplexity)")

    return style.Page((5.0, 3.9), drawn, NUMBERS, compose)


def set_ratios(panel: Axes, low: float, high: float) -> None:
    """Scale and labels of a vertical axis of ratios, which are drawn from `low` to `high`.

    Every label is written out, since some vectors raise the perplexity a million times.
    """
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter("{x:,.10g}")
    # Within one power of ten the labels between are the only ones.
    panel.yaxis.set_minor_formatter(NullFormatter() if high > 10 * low else "{x:,.10g}")


def _size(marker: str) -> float:
    return 9 if marker == STAR else 5.5


def _point(panel: Axes, row, colour: str, marker: str) -> None:
    """A point with its two intervals."""
    across = [[row.gain - row.gain_low], [row.gain_high - row.gain]]
    along = [[row.harm - row.harm_low], [row.harm_high - row.harm]]
    look = {"color": colour, "markersize": _size(marker), "elinewidth": 0.8}
    panel.errorbar(row.gain, row.harm, xerr=across, yerr=along, fmt=marker, **look)
