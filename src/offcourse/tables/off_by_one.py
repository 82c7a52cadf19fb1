"""What reading heads one token early does (`analysis.off_by_one`), as parquet, csv and md: a line per run."""

from pathlib import Path

import pandas as pd

from offcourse.analysis.inference import RESAMPLES
from offcourse.analysis.off_by_one import EARLY, EARLY_HEADS, EARLY_MEANS, LAST, off_by_one
from offcourse.analysis.view import ResultsView
from offcourse.schemas.results import OFF_BY_ONE
from offcourse.tables import writing

NAME = "off_by_one"
TITLE = "One token early"
CAPTION = (
    "Best accuracy of a function vector whose heads are read at the last token of the prompt, and one token early, as "
    "the released code reads them where the tokenizer adds a BOS. Everything else is equal."
)
NOTES = (
    "A run is a model, a task and a seed of the build prompts. Accuracies are the best of the whole grid of heads, "
    "strengths and layers, with Wilson's 95 % interval.",
    "difference: last less one early, with a 95 % bootstrap over items in pairs that chooses the setting anew in every "
    f"resample. p: a permutation test of the two on the same items, {RESAMPLES:,} resamples, with Holm's correction "
    "over all runs. Nothing is said of a run whose vector does not beat the model without one at the last token "
    "(p < 0.05 with the same correction).",
    "early heads: heads are chosen one token early and their means read at the last token. early means: the other way "
    "round. Each with its own p against the last token.",
)


def write(view: ResultsView, out: Path) -> None:
    """Write `off_by_one.parquet`, `.csv` and `.md` into `out`."""
    models, tasks = view.scope("function_vectors")
    labels = dict(zip(models, view.model_labels(models), strict=True))
    controls, draws = view.setting("function_vectors.controls"), view.setting("function_vectors.build_draws")
    frame = off_by_one(view, labels, tasks, view.switch("head_read_position"), controls, draws)
    writing.write_plain(out, NAME, TITLE, CAPTION, frame, OFF_BY_ONE, texts(frame), NOTES)


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as text, a line per run."""
    lines = []
    for (model, task, seed), mine in frame.groupby(["label", "task", "seed"], sort=False):
        run = {row.vector: row for row in mine.itertuples()}
        last, early = run[LAST], run[EARLY]
        line = {"model": model, "task": task, "seed": str(seed), "n": str(last.items)}
        line |= {"without": _share(last.without), f"{last.shots}-shot": _share(last.few_shot)}
        line |= {"last": _interval(last.accuracy, last.low, last.high)}
        line |= {"one early": _interval(early.accuracy, early.low, early.high)}
        ends = early.difference, early.difference_low, early.difference_high
        line |= {"difference": _interval(*ends), "p (Holm)": _p(early.p_holm), "one token early": early.verdict}
        for vector, name in ((EARLY_HEADS, "early heads"), (EARLY_MEANS, "early means")):
            if vector in run:
                half = run[vector]
                line[name] = f"{_interval(half.accuracy, half.low, half.high)} (p {_p(half.p_holm)})"
        lines.append(line)
    return pd.DataFrame(lines).set_index("model")


def _share(value: float) -> str:
    return f"{value:.3f}"


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
