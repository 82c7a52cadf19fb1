"""The table of verdicts on steering methods (`analysis.verdicts`), written as parquet, csv and md."""

from pathlib import Path

import pandas as pd

from offcourse.analysis.verdicts import LEVEL, MARGIN, PERPLEXITY, PRECISIONS, PROMPTING, VERDICTS, setting, verdicts
from offcourse.analysis.view import ResultsView
from offcourse.tables import writing

NAME = "verdicts"
CAPTION = (
    "What each steering method does to each model on each task, and what it costs. Accuracies with steering are held "
    "out: settings are chosen on one half of the items and reported on the other. Numbers in brackets are 95% "
    "intervals."
)


def write(view: ResultsView, out: Path) -> None:
    """Write `verdicts.parquet`, `.csv` and `.md` into `out`, see `analysis.verdicts`."""
    names = view.steering
    frame = verdicts(view, {name: view.scope(name) for name in names}, {name: view.label(name) for name in names})
    writing.write_plain(out, NAME, "Verdicts", CAPTION, frame, VERDICTS, texts(frame), notes(frame, PROMPTING in names))


def notes(frame: pd.DataFrame, prompting: bool) -> list[str]:
    """What the words mean, and what the study cannot say."""
    found = [
        f"A difference in accuracy counts from {MARGIN:g}, a ratio of perplexities from {PERPLEXITY:g}.",
        f"Works: better than luck and than prompting (p < {LEVEL:g}, Holm over the rows of a method), and no harm is "
        "shown. Works but harms: the interval of the perplexity ratio or of the other tasks lies beyond what counts.",
        "No better than luck or prompting: the upper end of the difference is below what counts. Cannot be told: the "
        "items are too few for any of these.",
        "Side effects are measured in the setting that is best over all items: perplexity and next-token divergence on "
        "neutral passages, accuracy on the study's other tasks with demonstrations.",
    ]
    if frame["control"].isna().any():
        found.append("Without controls, luck is the largest gain of a grid of this size that does nothing.")
    if not prompting:
        found.append("The study has no prompting, so the few-shot demonstrations alone stand for it.")
    if frame["elsewhere"].isna().any():
        found.append("With one task in a study there are no other tasks to measure harm on.")
    if (frame["draws"] == 1).any():
        found.append("Where vectors are built from one sample of prompts, how much a sample decides is not known.")
    if (frame["precision"] != "").any():
        found.append(
            "Precisions: accuracy in the best setting with model and vectors of each, the study's own first; the share "
            "of items whose answer is not the same in all of them; the smallest cosine of vectors with the study's own."
        )
    return found


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The printed table, all text."""

    def share(value: float) -> str:
        return "" if pd.isna(value) else f"{100 * value:.0f}%"

    def interval(row, name: str) -> str:
        ends = [getattr(row, f"{name}{end}") for end in ("", "_low", "_high")]
        return "" if pd.isna(ends[0]) else "{:.2f} [{:.2f}, {:.2f}]".format(*ends).replace("-0.00", "0.00")

    def precisions(row) -> str:
        ours = [row.precision, *(name for name in PRECISIONS if name != row.precision)] if row.precision else []
        known = [(name, getattr(row, name)) for name in ours]
        return ", ".join(f"{name} {share(value)}" for name, value in known if not pd.isna(value))

    rows = [
        {
            "model": row.model,
            "method": row.method,
            "task": row.task,
            "verdict": row.verdict,
            "items": str(row.items),
            "setting": setting(row.strength, row.layer, row.layers),
            "unsteered": share(row.unsteered),
            "steered": share(row.steered),
            "few-shot": share(row.few_shot),
            "prompting": share(row.prompting),
            "best control": share(row.control),
            "gain": interval(row, "gain"),
            "over luck": interval(row, "over_luck"),
            "over prompting": interval(row, "over_prompting"),
            "perplexity ratio": interval(row, "perplexity_ratio"),
            "other tasks": interval(row, "elsewhere"),
            "divergence": f"{row.divergence:.2g}",
            "broken": share(row.broken),
            "draws": str(row.draws),
            "spread": share(row.spread),
            "cosine": "" if pd.isna(row.cosine) else f"{row.cosine:.2f}",
            "flips": share(row.flips),
            "precisions": precisions(row),
            "flips between precisions": share(row.precision_flips),
            "cosine between precisions": "" if pd.isna(row.precision_cosine) else f"{row.precision_cosine:.4f}",
        }
        for row in frame.itertuples()
    ]
    shown = pd.DataFrame(rows).set_index("model")
    # Most studies have one precision.
    return shown if (frame["precision"] != "").any() else shown.loc[:, :"flips"]
