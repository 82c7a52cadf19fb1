"""Made-up scores of DoLa, logit lens and apathy, and what tables must find in them, counted one by one."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from offcourse.schemas.io import read_parquet, write_parquet
from offcourse.schemas.questions import APATHY, DOLA, LOGIT_LENS
from offcourse.schemas.results import CELLS

# Layers and parameters. Gemma 2 27B has a few more than 27 billion, and counts as small.
MODELS = {"little-1b": (12, 1e9), "gemma-27b": (46, 27.2e9), "great-70b": (80, 70e9)}
BUCKETS = ("0-50", "50-100")
ALPHAS = (0.0, 0.1, 0.5)
SETTINGS = [("", 0.0, "base"), ("", 0.0, "length_bias")] + [
    (bucket, alpha, variant) for bucket in BUCKETS for alpha in ALPHAS for variant in ("softmax", "no_softmax")
]
SETS = [("asked", "primer"), ("told", "continuation")]


def write_scores(folder: Path) -> Path:
    """Thirty questions each of two sets, and twenty of the logit lens and apathy, of every model."""
    random = np.random.default_rng(0)
    for model, (layers, parameters) in MODELS.items():
        (folder / model).mkdir()
        facts = {"name": model, "label": model.title(), "layers": layers, "parameters": parameters}
        (folder / model / "model.json").write_text(json.dumps(facts))
        for name, true in (("asked", 2), ("told", 1)):
            rows = []
            for question in range(30):
                kinds = ["best"] + ["true"] * (true - 1) + ["false"] * 3
                for answer, kind in enumerate(kinds):
                    for bucket, alpha, variant in SETTINGS:
                        score = random.integers(-9, 0) + 2 * (kind != "false")
                        masked = int(random.random() < alpha / 2)
                        rows.append((question, answer, kind, 3, bucket, alpha, variant, float(score), masked))
            frame = pd.DataFrame(rows, columns=list(DOLA.columns))
            frame.attrs["premature_layers"] = {"0-50": {"0": 30, "2": 10}, "50-100": {"6": 20, "8": 30}}
            write_parquet(folder / model / "dola" / f"{name}.parquet", frame, DOLA)
        index = pd.MultiIndex.from_product([range(20), range(layers + 1)], names=["question", "layer"])
        lens = pd.DataFrame(random.random((len(index), 4)).astype("float32"), index, ["a", "b", "c", "d"])
        lens = lens.set_axis(["top", "correct", "incorrect", "predicted"], axis=1).reset_index()
        write_parquet(folder / model / "logit_lens" / "letters.parquet", lens, LOGIT_LENS)
        apathy = lens[lens["layer"] < layers][["question", "layer", "top", "correct"]]
        apathy = apathy.set_axis(["question", "layer", "mha", "mlp"], axis=1)
        write_parquet(folder / model / "apathy" / "letters.parquet", apathy, APATHY)
    return folder


def hits(results, model: str, name: str, setting: tuple, shared: bool = False) -> list[float]:
    """Per question, whether the best answer is above every false one; ties by either rule, one by one."""
    path = results / model / "dola" / f"{name}.parquet"
    found = []
    for best, false in _answers(path, path.stat().st_mtime_ns)[setting]:
        tie = 1 / (1 + false.count(best)) if shared else float(name == "told")
        found.append(tie if best == max(false) else float(best > max(false)))
    return found


# Cached, since a test asks for every setting several times.
@cache
def _answers(path: Path, written: int) -> dict[tuple, list[tuple[float, list[float]]]]:
    """{setting: (score of the best answer, scores of the false ones) of each question, in order}."""
    found: dict[tuple, dict[int, list[tuple[str, float]]]] = {}
    for row in read_parquet(path, DOLA).itertuples():
        questions = found.setdefault((row.bucket, row.alpha, row.variant), {})
        questions.setdefault(row.question, []).append((row.kind, row.score))
    return {
        setting: [_best_and_false(questions[question]) for question in sorted(questions)]
        for setting, questions in found.items()
    }


def _best_and_false(answers: list[tuple[str, float]]) -> tuple[float, list[float]]:
    [best] = (score for kind, score in answers if kind == "best")
    return best, [score for kind, score in answers if kind == "false"]


def mc1(results, model: str, name: str, bucket: str, alpha: float, variant: str) -> float:
    return float(np.mean(hits(results, model, name, (bucket, alpha, variant))))


def best_setting(scores: dict[tuple, list[float]], questions) -> tuple:
    """The study's search: every bucket at alpha 0.1, then every alpha at the best of them (the last of equals)."""

    def mean(setting):
        return np.mean([scores[setting][question] for question in questions])

    bucket, *_ = max([(bucket, 0.1, "softmax") for bucket in BUCKETS[::-1]], key=mean)
    return max([(bucket, alpha, "softmax") for alpha in ALPHAS], key=mean)


def cells_of(folder, number: int) -> pd.DataFrame:
    return read_parquet(folder / f"table{number}.parquet", CELLS).set_index(["row", "column"])
