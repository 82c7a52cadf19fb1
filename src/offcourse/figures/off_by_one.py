"""What reading heads one token early does: the released models by what they add, and models read at both tokens."""

import numpy as np
import pandas as pd
import pandera.pandas as pa
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from offcourse.analysis.off_by_one import EARLY, LAST, SILENT, off_by_one
from offcourse.analysis.results import controls_path, sweep_path
from offcourse.analysis.sources import listed, source
from offcourse.analysis.view import ResultsView
from offcourse.claims.findings import FOLDER, Findings, read_findings
from offcourse.data.prompts import BUILD_SEED
from offcourse.figures import style
from offcourse.schemas.function_vectors import READ_POSITION
from offcourse.study.labels import task_label

# A dot each. `read` says at which token heads were read, and `best` is the peak recovery of a released model (`panel`
# released) or the best accuracy of a run (`task` and `seed` say which). Tracked numbers have no `sources`.
NUMBERS = pa.DataFrameSchema(
    {
        "panel": pa.Column(str, pa.Check.isin(["released", "runs"])),
        "model": pa.Column(str),
        "label": pa.Column(str),
        "task": pa.Column(str),
        "seed": pa.Column(int),
        "read": pa.Column(str, pa.Check.isin([LAST, EARLY])),
        "best": pa.Column(float),
        "low": pa.Column(float),
        "high": pa.Column(float),
        "difference": pa.Column(float, nullable=True),
        "difference_low": pa.Column(float, nullable=True),
        "difference_high": pa.Column(float, nullable=True),
        "verdict": pa.Column(str),
        "sources": pa.Column(str),
    },
    strict=True,
    ordered=True,
)
DRAWS = "function_vectors.build_draws"
COLOURS = {LAST: style.BLUE, EARLY: style.ORANGE}
MARKERS = {LAST: "o", EARLY: "D"}


def numbers(findings: Findings, runs: pd.DataFrame, own: bool) -> pd.DataFrame:
    """What is drawn, see `NUMBERS`.

    runs: those of the right panel, as `analysis.off_by_one` gives them. own: whether the folder has their sweeps.
    """
    released = findings.recovery.rename(columns={"recovery": "best"}).assign(sources=listed())
    read = np.where(released["adds_bos"], EARLY, LAST)
    released = released.assign(panel="released", task="", seed=0, read=read, verdict="")
    drawn = runs[runs["vector"].isin([LAST, EARLY])].rename(columns={"accuracy": "best", "vector": "read"})
    drawn["sources"] = [listed(*([_source(row)] if own else [])) for row in drawn.itertuples()]
    # The difference is that of a pair, and stands with the dot of one token early.
    ends = ["difference", "difference_low", "difference_high"]
    drawn = drawn.assign(panel="runs", **{name: drawn[name].where(drawn["read"] == EARLY) for name in ends})
    frame = pd.concat([released, drawn], ignore_index=True).reindex(columns=list(NUMBERS.columns))
    return NUMBERS.validate(frame.astype(dict.fromkeys(ends, float)))


def _source(row) -> dict:
    """The rows of the sweep that the best setting of a run has."""
    where = {"n_heads": row.n_heads, "strength": row.strength, "layer": row.layer}
    if not row.control:
        return source("best", sweep_path(row.model, row.task), where, row.items)
    where = {"control": row.control, "draw": row.seed - BUILD_SEED, **where}
    return source("best", controls_path(row.model, row.task), where, row.items)


def page(view: ResultsView, shown: style.Shown) -> style.Page:
    """Released models on the left, a line each, best first; on the right a line per run of a model on a task."""
    findings, controls = read_findings(view.tracked(FOLDER)), view.setting("function_vectors.controls") or ()
    if READ_POSITION not in controls:
        return composed(findings, findings.runs, own=False)
    models, tasks = view.scope("function_vectors")
    labels, draws = dict(zip(models, view.model_labels(models), strict=True)), view.setting(DRAWS)
    runs = off_by_one(view, labels, tasks, view.switch("head_read_position"), controls, draws)
    return composed(findings, runs, own=True)


def composed(findings: Findings, runs: pd.DataFrame, own: bool) -> style.Page:
    """The page of some runs: this study's own, or those of the study off-by-one."""
    drawn, whose = numbers(findings, runs, own), "this study" if own else "the study off-by-one"
    lines = len(runs[runs["vector"] == LAST])
    size = (7.6, max(1.9 + 0.165 * len(findings.recovery), 1.9 + 0.32 * lines))

    def compose(canvas: FigureBase) -> None:
        left, right = canvas.subplots(1, 2, gridspec_kw={"width_ratios": (1.1, 1)})
        _released(left, drawn[drawn["panel"] == "released"], findings)
        _runs(right, drawn[drawn["panel"] == "runs"], whose)
        handles = [left.plot([], [], MARKERS[read], color=COLOURS[read], markersize=5)[0] for read in (LAST, EARLY)]
        names = ["heads read at the last token", "heads read one token early"]
        canvas.legend(handles, names, loc="outside upper center", ncols=2, handletextpad=0.3)
        style.note(
            canvas,
            "left: mean and 95% interval over tasks; right: best accuracy and 95% interval over items;\n"
            "a difference in grey: the vector does not work at the last token, so the run says nothing",
        )

    return style.Page(size, drawn, NUMBERS, compose)


def _released(panel: Axes, drawn: pd.DataFrame, findings: Findings) -> None:
    """A line per model; dashed lines are the means of both groups."""
    y = np.arange(len(drawn))
    for read in (LAST, EARLY):
        mine = (drawn["read"] == read).to_numpy()
        _dots(panel, y[mine], drawn[mine], read)
        mean = findings.mean(adds_bos=read == EARLY)
        panel.axvline(mean, color=COLOURS[read], linewidth=0.9, linestyle=(0, (4, 2)), zorder=0)
        panel.annotate(
            f"{mean:.2f}",
            (mean, 1),
            (0, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            color=COLOURS[read],
            fontsize=7,
        )
    panel.set_yticks(y, drawn["label"], fontsize=7)
    panel.set(ylim=(len(drawn) - 0.4, -0.6), xlim=(-0.15, 1.3))
    panel.set_xlabel("peak recovery of few-shot accuracy")
    panel.grid(axis="y", visible=False)
    counts = [findings.count(adds_bos) for adds_bos in (True, False)]
    panel.set_title(f"A comparison: {counts[0]} released models\nwith a BOS, {counts[1]} without", loc="left", pad=14)


def _runs(panel: Axes, drawn: pd.DataFrame, whose: str) -> None:
    """Two dots a line, joined, and their difference in numbers; grey where the vector does not work at all."""
    keys = list(dict.fromkeys(zip(drawn["model"], drawn["task"], drawn["seed"], strict=True)))
    rows = drawn.set_index(["model", "task", "seed", "read"])
    seeds, names = len({seed for *_, seed in keys}), []
    for y, key in enumerate(keys):
        early, last = rows.loc[(*key, EARLY)], rows.loc[(*key, LAST)]
        panel.plot([early["best"], last["best"]], [y, y], color=style.GREY, linewidth=0.8, zorder=0)
        for read, row, shift in ((LAST, last, -0.12), (EARLY, early, 0.12)):
            _dots(panel, [y + shift], row.to_frame().T, read)
        silent = early["verdict"] == SILENT
        text = style.with_interval(*(early[f"difference{end}"] for end in ("", "_low", "_high")))
        place = {"va": "center", "fontsize": 7, "color": style.GREY if silent else "black"}
        panel.annotate(text, (1.03, y), annotation_clip=False, **place)
        _, task, seed = key
        names.append(f"{last['label']}\n{task_label(task)}{f', seed {seed}' if seeds > 1 else ''}")
    if not keys:
        panel.text(0.5, 0.5, "not run yet", transform=panel.transAxes, ha="center", color=style.GREY)
    else:
        panel.annotate(
            "difference", (1.03, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", fontsize=7
        )
    panel.set_yticks(range(len(keys)), names, fontsize=7)
    panel.set(ylim=(len(keys) - 0.4, -0.6), xlim=(-0.02, 1.0))
    panel.set_xlabel("best accuracy of the function vector")
    panel.grid(axis="y", visible=False)
    panel.set_title(f"A test: the same models read\nat both tokens ({whose})", loc="left", pad=14)


def _dots(panel: Axes, y, drawn: pd.DataFrame, read: str) -> None:
    best, low, high = (drawn[name].astype(float) for name in ("best", "low", "high"))
    panel.hlines(y, low, high, color=COLOURS[read], linewidth=1, alpha=0.6)
    look = {"color": COLOURS[read], "marker": MARKERS[read], "markersize": 4.6, "linestyle": "none"}
    style.line(panel, pd.DataFrame({"best": best, "y": y}), "best", "y", **look)
