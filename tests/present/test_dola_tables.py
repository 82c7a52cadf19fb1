"""Tables 1, 2, 4 to 10 and Figures 2 and 8 from made-up scores: the numbers are those of their definitions."""

import json

import numpy as np
import pandas as pd
import pytest

from offcourse.artefacts import APATHY, CELLS, DOLA, LOGIT_LENS, read_parquet, write_parquet
from offcourse.present import contents, figure_apathy, figure_lens, forms, tables_dola

MODELS = {"little-1b": 12, "great-70b": 80}
BUCKETS = ("0-50", "50-100")
ALPHAS = (0.0, 0.1, 0.5)
SETTINGS = [("", 0.0, "base"), ("", 0.0, "length_bias")] + [
    (bucket, alpha, variant) for bucket in BUCKETS for alpha in ALPHAS for variant in ("softmax", "no_softmax")
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dola")
    random = np.random.default_rng(0)
    for model, layers in MODELS.items():
        (folder / model).mkdir()
        facts = {"name": model, "label": model.title(), "layers": layers, "parameters": 1e9}
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
            write_parquet(
                folder / model / "dola" / f"{name}.parquet", pd.DataFrame(rows, columns=list(DOLA.columns)), DOLA
            )
        index = pd.MultiIndex.from_product([range(20), range(layers + 1)], names=["question", "layer"])
        lens = pd.DataFrame(random.random((len(index), 4)).astype("float32"), index, ["a", "b", "c", "d"])
        lens = lens.set_axis(["top", "correct", "incorrect", "predicted"], axis=1).reset_index()
        write_parquet(folder / model / "logit_lens" / "letters.parquet", lens, LOGIT_LENS)
        apathy = lens[lens["layer"] < layers][["question", "layer", "top", "correct"]]
        apathy = apathy.set_axis(["question", "layer", "mha", "mlp"], axis=1)
        write_parquet(folder / model / "apathy" / "letters.parquet", apathy, APATHY)
    return folder


@pytest.fixture(scope="module")
def written(results):
    sets = [("asked", "primer"), ("told", "continuation")]
    tables_dola.write(results, list(MODELS), sets, False, False, results / "tables")
    return results


def mc1(results, model: str, name: str, bucket: str, alpha: float, variant: str) -> float:
    frame = read_parquet(results / model / "dola" / f"{name}.parquet", DOLA)
    frame = frame[(frame["bucket"] == bucket) & (frame["alpha"] == alpha) & (frame["variant"] == variant)]
    hits = []
    for _, question in frame.groupby("question"):
        best = question.loc[question["kind"] == "best", "score"].item()
        false = question.loc[question["kind"] == "false", "score"].max()
        hits.append(best > false if name == "asked" else best >= false)
    return float(np.mean(hits))


def test_a_table_without_a_model_says_why_it_is_empty(results, tmp_path):
    tables_dola.write(results, ["little-1b"], [("asked", "primer")], False, False, tmp_path)
    for number, why in (
        (5, "no model of at least 80 blocks with a set of questions"),
        (2, "no model with a set of texts to be continued"),
    ):
        assert read_parquet(tmp_path / f"table{number}.parquet", CELLS).empty
        assert f"- Empty: this study has {why}." in (tmp_path / f"table{number}.md").read_text()
    assert not read_parquet(tmp_path / "table4.parquet", CELLS).empty


@pytest.mark.parametrize("number", tables_dola.CAPTIONS)
def test_every_table_is_written_in_every_form(written, number):
    for suffix in forms.SUFFIXES:
        assert (written / "tables" / f"table{number}.{suffix}").stat().st_size > 0
    cells = read_parquet(written / "tables" / f"table{number}.parquet", CELLS)
    large = {4: 0, 8: 0, 5: 1, 9: 1}.get(number)
    models = list(MODELS) if large is None else [list(MODELS)[large]]
    assert {row.split(" ")[0] for row in cells["row"]} == set(models)
    assert set(cells["n"]) == {30}


@pytest.mark.parametrize(("number", "name", "metric"), [(6, "asked", "MC1"), (10, "told", "accuracy")])
def test_alphas_are_shown_at_the_best_bucket(written, number, name, metric):
    cells = read_parquet(written / "tables" / f"table{number}.parquet", CELLS).set_index(["row", "column"])["value"]
    for model in MODELS:
        best = max(BUCKETS, key=lambda bucket: mc1(written, model, name, bucket, 0.1, "softmax"))
        for alpha in ALPHAS:
            expected = mc1(written, model, name, best, alpha, "softmax")
            assert cells[f"{model} ({name})", f"{metric} alpha {alpha:g}"] == pytest.approx(expected)


def test_the_best_setting_is_the_best_of_buckets_and_alphas(written):
    cells = read_parquet(written / "tables" / "table1.parquet", CELLS).set_index(["row", "column"])
    for model in MODELS:
        tried = [mc1(written, model, "asked", bucket, 0.1, "softmax") for bucket in BUCKETS]
        best = BUCKETS[int(np.argmax(tried))]
        tried += [mc1(written, model, "asked", best, alpha, "softmax") for alpha in ALPHAS]
        cell = cells.loc[(f"{model} (asked)", "MC1 DoLa")]
        assert cell["value"] == pytest.approx(max(tried))
        assert 0 <= cell["ci_low"] < cell["value"] < cell["ci_high"] <= 1
        base = mc1(written, model, "asked", "", 0.0, "base")
        assert cells.loc[(f"{model} (asked)", "MC1 base"), "value"] == pytest.approx(base)


def test_figures_draw_the_means(results):
    figure_lens.draw(results, list(MODELS), "letters", results / "figures" / "figure2" / "letters")
    figure_apathy.draw(results, list(MODELS), "letters", results / "figures" / "figure8" / "letters")
    lens = read_parquet(results / "little-1b" / "logit_lens" / "letters.parquet", LOGIT_LENS)
    drawn = pd.read_parquet(results / "figures" / "figure2" / "letters.parquet").set_index(["model", "line", "layer"])
    assert drawn.loc[("little-1b", "correct", 3), "mean"] == pytest.approx(lens[lens["layer"] == 3]["correct"].mean())
    scaled = pd.read_parquet(results / "figures" / "figure8" / "letters.parquet")
    for _, mine in scaled.groupby("model"):
        both = mine[mine["line"] != "top"]["scaled"]
        assert (both.min(), both.max()) == (0, 1)


def test_contents_follow_the_methods():
    tables = [table["id"] for table in contents.tables(["dola", "function_vectors"])]
    assert tables == [f"table{number}" for number in range(1, 11)]
    pictures = contents.figures(["a"], ["antonym"], ["logit_lens"], ["letters"])
    assert [picture["id"] for picture in pictures] == ["figure2/letters", "figure8/letters"]
