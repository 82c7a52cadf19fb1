"""A made-up study on disk: artefacts as the workflow writes them, from a seeded generator."""

import json
from functools import lru_cache
from pathlib import Path

import made_dola
import numpy as np
import pandas as pd
import pytest
from made_prompts import write_prompts
from made_report import write_report
from matplotlib.figure import Figure
from views import write

from offcourse.figures import style
from offcourse.schemas.function_vectors import CIE, FV_SWEEP, ICL
from offcourse.schemas.io import write_parquet
from offcourse.schemas.questions import APATHY, LOGIT_LENS
from offcourse.schemas.task_vectors import TV_SWEEP

TASKS = ["antonym", "country-capital", "english-french", "present-past"]
MODELS = {"tiny-0.1b": (6, 4, 1e8), "middle-27b": (8, 3, 27.2e9), "huge-70b": (10, 4, 70e9)}
DOLA = {"dola": (list(made_dola.MODELS), [name for name, _ in made_dola.SETS]), "forms": made_dola.SETS}
N_HEADS, STRENGTHS = (2, 16, 64), (1.0, 4.0, 16.0)


def write_study(
    results: Path,
    models=MODELS,
    tasks=TASKS,
    n_heads=N_HEADS,
    strengths=STRENGTHS,
    shots=10,
    trials=5,
    unlearnt=(),
    seed=0,
) -> Path:
    """`models` maps names to (layers, heads, parameters). Pairs in `unlearnt` have accuracy 0 with any shots."""
    random = np.random.default_rng(seed)
    for model, (layers, heads, parameters) in models.items():
        _write_model(results / model, model, layers, heads, parameters)
        for task in tasks:
            items = 42 if task == "country-capital" else 50
            skill = 0.0 if (model, task) in unlearnt else random.uniform(0.3, 0.95)
            rows = [
                (k, i, random.random() < skill * min(1, 0.3 + 0.15 * k)) for k in range(shots + 1) for i in range(items)
            ]
            # A third of the answers to country-capital begin with one token.
            same = items // 3 if task == "country-capital" else 1
            write_prompts(
                results / model / "prompts" / f"{task}.parquet",
                function_vectors=[max(0, item - same + 1) for item in range(items)],
            )
            write_parquet(
                results / model / "icl" / f"{task}.parquet", pd.DataFrame(rows, columns=list(ICL.columns)), ICL
            )
            centre, reach = random.uniform(0.2, 0.7) * layers, random.uniform(0.1, 1.1)
            sweep = pd.MultiIndex.from_product(
                [n_heads, strengths, range(layers), range(items)], names=["n_heads", "strength", "layer", "item"]
            ).to_frame(index=False)
            fit = np.exp(-(np.log2(sweep["strength"] / 4) ** 2) / 8 - ((sweep["layer"] - centre) / layers * 4) ** 2)
            fit *= skill * reach * (0.6 + 0.4 * sweep["n_heads"] / max(n_heads))
            sweep["hit"] = random.random(len(sweep)) < fit
            write_parquet(results / model / "fv_sweep" / f"{task}.parquet", sweep, FV_SWEEP)
            cie = pd.MultiIndex.from_product(
                [range(trials), range(layers), range(heads)], names=["trial", "layer", "head"]
            ).to_frame(index=False)
            strong = random.random(layers * heads) ** 12 * 0.2
            effect = strong[cie["layer"] * heads + cie["head"]] + random.normal(0, 0.004, len(cie))
            cie["effect"] = effect.astype("float32")
            cie["unedited"] = ((cie["trial"] + cie["layer"]) % 3 * 1e-3).astype("float32")
            write_parquet(results / model / "cie" / f"{task}.parquet", cie, CIE)
    return results


def write_task_vectors(results: Path, models, tasks, layers=5, items=20) -> Path:
    """Hits of split, layer and item and of shots and item, from a seeded generator; the best layer is the third."""
    random = np.random.default_rng(5)
    for model in models:
        for task in tasks:
            skill = random.uniform(0.2, 0.9)
            rows = [
                (split, layer, item, random.random() < skill * np.exp(-((layer - 2) ** 2)))
                for split in ("dev", "test")
                for layer in range(layers)
                for item in range(items)
            ]
            frame = pd.DataFrame(rows, columns=list(TV_SWEEP.columns))
            write_parquet(results / model / "tv_sweep" / f"{task}.parquet", frame, TV_SWEEP)
            rows = [
                (shots, item, random.random() < skill * (0.3 + 0.14 * shots))
                for shots in (0, 5)
                for item in range(items)
            ]
            frame = pd.DataFrame(rows, columns=list(ICL.columns))
            write_parquet(results / model / "tv_icl" / f"{task}.parquet", frame, ICL)
    return results


def write_readings(results: Path, models, questions="letters", layers=5) -> Path:
    """Logit lens and apathy of nine questions; each model's probabilities rise at the layer after its place."""
    random = np.random.default_rng(1)
    for late, model in enumerate(models):
        rows = [(q, layer, *random.random(3) * (layer > late), 0.5) for q in range(9) for layer in range(layers + 1)]
        frame = pd.DataFrame(rows, columns=list(LOGIT_LENS.columns))
        frame = frame.astype(dict.fromkeys(["top", "correct", "incorrect", "predicted"], "float32"))
        write_parquet(results / model / "logit_lens" / f"{questions}.parquet", frame, LOGIT_LENS)
        rows = [(q, layer, *random.random(2)) for q in range(9) for layer in range(layers)]
        frame = pd.DataFrame(rows, columns=list(APATHY.columns)).astype({"mha": "float32", "mlp": "float32"})
        write_parquet(results / model / "apathy" / f"{questions}.parquet", frame, APATHY)
    return results


def _write_model(folder: Path, name: str, layers: int, heads: int, parameters: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "name": name,
        "label": name.replace("-", " ").capitalize(),
        "class": "Llama",
        "layers": layers,
        "heads": heads,
        "kv_heads": heads,
        "head_dim": 64,
        "width": 64 * heads,
        "vocabulary": 49152,
        "adds_bos": name != "tiny-0.1b",
        "parameters": int(parameters),
        "dtype": "float32",
        "weights_digest": "0123456789abcdef" * 4,
        "checks": {
            "lens at the last layer equals the logits": {"passed": True, "error": 1e-6},
            "an edit by zero changes nothing": {"passed": True, "error": 0.0},
        },
    }
    (folder / "model.json").write_text(json.dumps(facts), encoding="utf-8")


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def page(study) -> tuple[Path, str]:
    """A report of the sweep pages and Figure 11, beside the study it is about."""
    return write_report(study)


@pytest.fixture
def make_study(tmp_path):
    """Write a study of one's own choosing into a fresh folder."""
    return lambda **changes: write_study(tmp_path / "made", **changes)


@pytest.fixture(scope="session")
def share():
    """The share of hits among the rows of an artefact where `wanted` holds, counted one by one."""

    @lru_cache(maxsize=4)
    def read(path: Path) -> list[dict]:
        return pd.read_parquet(path).to_dict("records")

    def count(results: Path, path: str, **wanted) -> float:
        hits = [row["hit"] for row in read(results / path) if all(row[key] == value for key, value in wanted.items())]
        return sum(1 for hit in hits if hit) / len(hits)

    return count


@pytest.fixture(scope="module")
def dola_results(tmp_path_factory) -> Path:
    """Made-up scores of DoLa, see `made_dola`."""
    return made_dola.write_scores(tmp_path_factory.mktemp("dola"))


@pytest.fixture(scope="module")
def dola_tables(dola_results) -> Path:
    """The same with their tables as published."""
    write("tables_dola", dola_results, dola_results / "tables", **DOLA)
    return dola_results


@pytest.fixture(scope="module", params=[False, True], ids=["as_coded", "shared"])
def dola_ties(request, dola_results, tmp_path_factory) -> tuple[Path, bool]:
    """The tables under one of the tie rules, and whether it is the shared one."""
    out = tmp_path_factory.mktemp("tables")
    write("tables_dola", dola_results, out, **DOLA, ties="shared" if request.param else "as_coded")
    return out, request.param


@pytest.fixture
def drawn(monkeypatch):
    """The figures that `style.save` was given, which would otherwise be gone after drawing."""
    kept: list[Figure] = []
    save = style.save
    monkeypatch.setattr(style, "save", lambda figure, *rest: (kept.append(figure), save(figure, *rest)))
    return kept
