"""Made-up numbers in which a given part of the models or pairs is as a claim has it."""

import numpy as np
import pandas as pd

from offcourse.claims import verdicts as claims
from offcourse.claims.numbers import Numbers

MANY = 40
NONE = np.nan
POST_TRAINED = [
    ("llama-2-7b", "llama-2-7b-chat"), ("llama-2-13b", "llama-2-13b-chat"), ("qwen2-7b", "qwen2-7b-instruct"),
    ("gemma-2-9b", "gemma-2-9b-it"), ("olmo-2-7b", "olmo-2-7b-instruct"),
]  # fmt: skip


def table(*cells) -> pd.DataFrame:
    return pd.DataFrame(cells, columns=["row", "column", "value", "ci_low", "ci_high", "n"])


def numbers(tables=None, figures=None, evidence=None) -> Numbers:
    return claims.study_numbers(tables or {}, figures or {}, evidence)


def recovery(*rows) -> pd.DataFrame:
    """Rows of tables/recovery: model, task, method, peak; and n_heads, average, group where they matter."""
    frame = pd.DataFrame([(*row, *(0, NONE, "linguistic")[len(row) - 4 :]) for row in rows],
                         columns=["model", "task", "method", "peak", "n_heads", "average", "group"])  # fmt: skip
    return frame.assign(few_shot=0.8, own_few_shot=0.8)


def figure13(rows) -> Numbers:
    return numbers(figures={"figure13": pd.DataFrame(rows, columns=["model", "task", "value", "peak_recovery"])})


def lettered(right, wrong) -> list[tuple]:
    return [(line, layer, mean) for line, means in (("correct", right), ("incorrect", wrong))
            for layer, mean in enumerate(means)]  # fmt: skip


def shown(met: float, figure: str, if_met: list[tuple], otherwise: list[tuple], columns: list[str]) -> Numbers:
    rows = [(str(m), "q", *row) for m in range(MANY) for row in (if_met if m < met * MANY else otherwise)]
    return numbers(figures={figure: pd.DataFrame(rows, columns=["model", "questions", *columns])})


def truthful(met: float, number: int, metrics, before: str, after: str, gain: float) -> Numbers:
    """`met`: the share of models that gain in all metrics but one; the others gain in that one alone."""
    rows = []
    for model in range(MANY):
        gains = model < met * MANY
        for at, metric in enumerate(metrics):
            plus = gain if gains == (at > 0 or len(metrics) == 1) else 0.0
            rows += [(f"{model} (q)", f"{metric} {before}", 0.3), (f"{model} (q)", f"{metric} {after}", 0.3 + plus)]
        rows.append((f"{model} (q)", "McNemar p", 1e-6 if gains else 0.04))
    return numbers({number: table(*((*row, NONE, NONE, 100) for row in rows))})


def reached(met: float, method: str, high: float, low: float, task: str = "antonym", average: float = NONE) -> Numbers:
    """Of `met` of the models the vectors reach `high`, of the others `low`."""
    group = "from-english" if task == "english-french" else "linguistic"
    rows = [(f"m{m}", task, method, high if m < met * MANY else low, 0, average, group) for m in range(MANY)]
    return numbers(evidence={"recovery": recovery(*rows)})


def post_trained(met: float, method: str, n_heads: int = 0) -> Numbers:
    """Pairs of models change by a little more or less than what `met` says."""
    changes = np.linspace(-0.05, 0.05, len(POST_TRAINED)) + 0.4 * (met - 0.5)
    rows = [(model, "antonym", method, 0.4 + change, n_heads)
            for (base, post), plus in zip(POST_TRAINED, changes, strict=True)
            for model, change in ((base, 0.0), (post, plus))]  # fmt: skip
    return numbers(evidence={"recovery": recovery(*rows)})


def changed(**models: tuple[float, float, float]) -> Numbers:
    """Changes by DoLa of MC1 alone with their ends; of MC2 and MC3 a good deal more."""
    metrics = (("MC1", 0.0), ("MC2", 0.5), ("MC3", 0.5))
    rows = [(model.replace("_", "-"), "truthfulqa", metric, *(value + plus for value in ends), 817)
            for model, ends in models.items() for metric, plus in metrics]  # fmt: skip
    columns = ["model", "questions", "metric", "change", "ci_low", "ci_high", "n"]
    return numbers(evidence={"dola_changes": pd.DataFrame(rows, columns=columns)})


def lens(**highest: float) -> Numbers:
    """Letters, or the likeliest token, of named models in their lower half."""
    rows = [(model, "q", layer, line, value, value - 0.01, value + 0.01)
            for model, low in highest.items() for line in ("correct", "incorrect", "top")
            for layer, value in enumerate([0.0, low, low, 0.2, 0.5])]  # fmt: skip
    columns = ["model", "questions", "layer", "line", "mean", "ci_low", "ci_high"]
    return numbers(figures={"figure2": pd.DataFrame(rows, columns=columns)})
