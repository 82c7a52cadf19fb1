"""Apathy (how little a sub-layer moves the residual stream) and the top probability by layer, per model (Figure 8)."""

from collections.abc import Sequence

import pandas as pd
import pandera.pandas as pa

from offcourse.analysis.results import Folder, apathy_path, is_drawn, lens_path, read_apathy, read_lens
from offcourse.analysis.sources import listed, source
from offcourse.analysis.view import ResultsView
from offcourse.figures import by_model, style

LINES = {
    "mha": ("apathy, attention", {"color": style.BLUE}),
    "mlp": ("apathy, feed-forward", {"color": style.ORANGE}),
    "top": ("likeliest token", {"color": style.INK, "linestyle": (0, (3, 1.2)), "linewidth": 1.0}),
}
NORMAL = 1.96  # as in `analysis.results.read_lens_means`
# Means over questions: `scaled` to 0..1 as in the paper's figure, and unscaled (`mean`), which the release lacks.
# `ci_low` to `ci_high` is the normal 95% interval of the mean, scaled like the mean; the release lacks it too.
NUMBERS = pa.DataFrameSchema(
    {
        "model": pa.Column(str),
        "questions": pa.Column(str),
        "layer": pa.Column(int),
        "line": pa.Column(str, pa.Check.isin(list(LINES))),
        "mean": pa.Column(float, nullable=True),
        "scaled": pa.Column(float, pa.Check.in_range(0, 1)),
        "ci_low": pa.Column(float, nullable=True),
        "ci_high": pa.Column(float, nullable=True),
        "n": pa.Column(int, pa.Check.gt(0)),
        "sources": pa.Column(str),
    },
    strict=True,
    ordered=True,
)


def numbers(results: Folder, models: Sequence[str], questions: str) -> pd.DataFrame:
    """Means by model, layer and line, see `NUMBERS`.

    Attention and feed-forward share one minimum and maximum per model. A model without feed-forward networks has no
    line of them. The top probability is scaled before averaging, by its smallest and largest value over all questions
    and layers, the model's output (layer n) included. The release has the scaled means only.
    """
    parts = []
    for model in models:
        if is_drawn(results, apathy_path(model, questions)):
            parts.append(_released(results, model, questions))
            continue
        apathy = read_apathy(results, model, questions).astype({"mha": float, "mlp": float})
        by_layer = apathy.groupby("layer", sort=True)
        means = by_layer[["mha", "mlp"]].mean()
        lens = read_lens(results, model, questions).astype({"top": float})
        top = lens.groupby("layer", sort=True)["top"].mean()
        errors = {line: by_layer[line].sem() for line in ("mha", "mlp")}
        errors["top"] = lens.groupby("layer", sort=True)["top"].sem()
        count, path = apathy["question"].nunique(), {"mha": apathy_path, "mlp": apathy_path, "top": lens_path}
        ends = {"mha": _ends_of_means(means, count, path["mha"](model, questions))}
        ends |= {"mlp": ends["mha"], "top": _ends_of_rows(lens, path["top"](model, questions))}
        for line, series in (("mha", means["mha"]), ("mlp", means["mlp"]), ("top", top)):
            if series.isna().all():
                continue
            (start, least), (end, most) = ends[line]
            scaled = ((series - start) / (end - start)).clip(0, 1) if end > start else series * 0
            half = NORMAL * errors[line].fillna(0.0) / (end - start) if end > start else series * 0
            parts.append(
                pd.DataFrame(
                    {
                        "model": model,
                        "questions": questions,
                        "layer": series.index,
                        "line": line,
                        "mean": series.to_numpy(),
                        "scaled": scaled.to_numpy(),
                        "ci_low": (scaled - half).to_numpy(),
                        "ci_high": (scaled + half).to_numpy(),
                        "n": count,
                        "sources": [
                            listed(
                                source("mean", path[line](model, questions), {"layer": layer}, count, line), least, most
                            )
                            for layer in series.index
                        ],
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def _released(results: Folder, model: str, questions: str) -> pd.DataFrame:
    means = read_apathy(results, model, questions)
    path = apathy_path(model, questions)
    sources = [
        listed(source("scaled", path, {"layer": row.layer, "line": row.line}, row.n, "scaled"))
        for row in means.itertuples()
    ]
    lacks = dict.fromkeys(("mean", "ci_low", "ci_high"), float("nan"))
    known = {"model": model, "questions": questions, "sources": sources} | lacks
    return means.assign(**known, scaled=means["scaled"].clip(0, 1))[list(NUMBERS.columns)]


def _ends_of_means(means: pd.DataFrame, count: int, path: str) -> list[tuple[float, dict]]:
    """The smallest and the largest mean, each with its entry of `sources`."""
    stacked = means.stack().dropna()
    found = []
    for role, (layer, line) in (("low", stacked.idxmin()), ("high", stacked.idxmax())):
        found.append((float(stacked.loc[layer, line]), source(role, path, {"layer": int(layer)}, count, line)))
    return found


def _ends_of_rows(lens: pd.DataFrame, path: str) -> list[tuple[float, dict]]:
    """The smallest and the largest single value, each with its entry of `sources`."""
    found = []
    for role, at in (("low", lens["top"].idxmin()), ("high", lens["top"].idxmax())):
        row = lens.loc[at]
        where = {"layer": int(row["layer"]), "question": int(row["question"])}
        found.append((float(row["top"]), source(role, path, where, 1, "top")))
    return found


def page(view: ResultsView, shown: style.Shown) -> style.Page:
    """Scaled lines against layer."""
    models, _ = view.scope("logit_lens")
    drawn, labels = numbers(view, models, shown["questions"]), view.model_labels(models)
    on = view.cell("questions", "label", shown["questions"])
    spread = "mean" if drawn["ci_low"].isna().all() else "mean and 95% interval"
    said = f"{spread} over {style.span(drawn['n'])} questions of {on}"
    axes = "layer", "apathy and probability,\nscaled to 0–1 in each model"
    return by_model.page(models, labels, drawn, NUMBERS, LINES, "scaled", axes, said)
