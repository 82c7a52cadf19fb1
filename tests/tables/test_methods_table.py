"""The tables of methods on made-up results: task vectors and DoLa beside CAA, with the numbers of Tables 1 to 3."""

import re
from functools import cache

import made_dola
import numpy as np
import pandas as pd
import pytest
from made_study import write_study, write_task_vectors
from views import view_of, write

from offcourse.analysis.cells import recompute
from offcourse.graph.products import PRODUCTS
from offcourse.schemas.function_vectors import STEERING_SWEEP
from offcourse.schemas.io import read_parquet, write_parquet
from offcourse.schemas.questions import DOLA, STEERED_ANSWERS
from offcourse.schemas.results import CELLS
from offcourse.tables import methods

MODELS, TASKS = ["tiny-0.1b", "middle-27b", "huge-70b"], ["antonym", "english-french", "present-past"]
GROUPS = {"antonym": "linguistic", "present-past": "linguistic", "english-french": "from-english"}
SCOPE = (MODELS, TASKS)
QUANTILES = ("0.50", "0.75", "0.90", "1.00")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Function vectors, task vectors and CAA on the same models and tasks."""
    folder = write_study(tmp_path_factory.mktemp("methods"), tasks=TASKS)
    write_task_vectors(folder, MODELS, TASKS)
    random = np.random.default_rng(3)
    for model in MODELS:
        for task in TASKS:
            rows = [
                (s, layer, i, random.random() < 0.1 * layer)
                for s in (1.0, 4.0)
                for layer in range(5)
                for i in range(50)
            ]
            frame = pd.DataFrame(rows, columns=list(STEERING_SWEEP.columns))
            write_parquet(folder / model / "caa_sweep" / f"{task}.parquet", frame, STEERING_SWEEP)
    return folder


def cells_of(made, out, rule="table_methods", caa=SCOPE, **more) -> pd.DataFrame:
    more = {"fv": SCOPE, "tv": SCOPE, "groups": GROUPS} | more
    write(rule, made, out, scopes={"caa": caa}, **more)
    return read_parquet(out / f"{rule}.parquet", CELLS).set_index(["row", "column"])


def mean(made, path, **where) -> float:
    frame = _read(made / path, (made / path).stat().st_mtime_ns)
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return float(frame["hit"].mean())


@cache
def _read(path, written: int) -> pd.DataFrame:
    return pd.read_parquet(path)


def by_hand(made, model, task, split) -> dict[str, float]:
    """Accuracies of one pair, from its items."""
    layers = pd.read_parquet(made / f"{model}/tv_sweep/{task}.parquet")["layer"].unique()
    sweep = f"{model}/tv_sweep/{task}.parquet"
    best = max(sorted(layers), key=lambda layer: mean(made, sweep, split="dev", layer=layer))
    return {
        "0-shot": mean(made, f"{model}/tv_icl/{task}.parquet", shots=0),
        "steered": mean(made, sweep, split=split, layer=best),
        "few-shot": mean(made, f"{model}/tv_icl/{task}.parquet", shots=5),
    }


@pytest.mark.parametrize("split", ["dev", "test"])
def test_accuracies_of_task_vectors_are_those_of_their_own_prompts(made, tmp_path, split):
    got = cells_of(made, tmp_path, tv_score=split)
    pairs = [by_hand(made, model, task, split) for model in MODELS for task in TASKS]
    for column in ("0-shot", "steered", "few-shot"):
        cell = got.loc[("Task vectors", column)]
        assert cell["value"] == pytest.approx(np.mean([pair[column] for pair in pairs]))
        assert cell["n"] == 9 and cell["ci_low"] <= cell["value"] <= cell["ci_high"]
        assert cell["value"] != got.loc[("CAA", column), "value"]
    assert list(dict.fromkeys(got.index.get_level_values("row")))[:3:2] == ["Function vectors", "Task vectors"]


@pytest.mark.parametrize("denominator", ["own", "previous_model"])
@pytest.mark.parametrize("split", ["dev", "test"])
def test_shares_of_function_and_task_vectors_are_those_of_table_3(made, tmp_path, split, denominator):
    switches = {"tv_score": split, "tv_denominator": denominator}
    got = cells_of(made, tmp_path, **switches)
    theirs = cells_of(made, tmp_path, "table3", settings={"n_heads": [2, 16, 64]}, **switches)
    for mine, name in (("Task vectors", "TV"), ("Function vectors", "FV search")):
        for end in ("", " (count)"):
            for quantile in QUANTILES:
                ours, other = got.loc[(mine + end, quantile)], theirs.loc[(name + end, quantile)]
                pd.testing.assert_series_equal(ours.drop("sources"), other.drop("sources"), check_names=False)


def test_the_switches_move_the_shares(made, tmp_path):
    """So that the test above compares more than one number with itself."""
    found = {
        denominator: cells_of(made, tmp_path, tv_denominator=denominator).loc["Task vectors"]
        for denominator in ("own", "previous_model")
    }
    values = [each.loc[list(QUANTILES), "value"].tolist() for each in found.values()]
    assert values[0] != values[1]
    # The few-shot accuracy that is shown is each pair's own.
    assert found["own"].loc["few-shot", "value"] == found["previous_model"].loc["few-shot", "value"]


def test_every_cell_is_computed_again_from_its_sources(made, tmp_path):
    for selection in ("same_items", "halves"):
        for _, cell in cells_of(made, tmp_path, selection=selection).reset_index().iterrows():
            assert recompute(made, cell) == pytest.approx(cell["value"], abs=1e-9), cell["row"]


def test_task_vectors_have_the_pairs_that_a_steering_method_has_too(made, tmp_path):
    """Pairs, but not what is left over for them: the model before is the one before in all of the method's models."""
    caa = (MODELS[1:], TASKS[:2])
    few = (MODELS, TASKS[1:])
    got = cells_of(made, tmp_path, caa=caa, tv=few)
    assert got.loc[("Task vectors", "steered"), "n"] == 2 and got.loc[("CAA", "steered"), "n"] == 4
    pairs = [by_hand(made, model, "english-french", "dev") for model in MODELS[1:]]
    assert got.loc[("Task vectors", "steered"), "value"] == pytest.approx(np.mean([pair["steered"] for pair in pairs]))
    before = [by_hand(made, model, "english-french", "dev")["few-shot"] for model in MODELS[:2]]
    reached = [pair["steered"] >= 0.9 * few_shot - 1e-9 for pair, few_shot in zip(pairs, before, strict=True)]
    assert got.loc[("Task vectors (count)", "0.90"), "value"] == sum(reached)


def test_a_note_says_that_prompts_and_items_are_task_vectors_own(made, tmp_path):
    cells_of(made, tmp_path, tv_score="test")
    said = (tmp_path / "table_methods.md").read_text()
    assert "Task vectors are measured on prompts and words of their own" in said
    assert "0-shot accuracy is on 20 prompts, their 5-shot accuracy on 20 test prompts" in said
    assert "at the layer that is best on development prompts (20)" in said
    assert "all but task vectors are on the same 0-shot queries" in said
    assert "Task vectors: 9 pairs, the best of 5 layers each." in said
    assert re.search(r"9 of 9 pairs are divided by a 5-shot accuracy left over", said)


@pytest.mark.parametrize("tv", [None, (MODELS, ["country-capital"])])
def test_without_task_vectors_on_its_pairs_the_table_has_neither_row_nor_note(made, tmp_path, tv):
    scopes = {"fv": SCOPE, "groups": GROUPS} | ({"tv": tv} if tv else {})
    write("table_methods", made, tmp_path, scopes={"caa": SCOPE}, **scopes)
    rows = set(read_parquet(tmp_path / "table_methods.parquet", CELLS)["row"])
    assert rows == {name + end for name in ("Function vectors", "CAA") for end in ("", " (count)")}
    said = (tmp_path / "table_methods.md").read_text()
    assert "task vectors" not in said.lower() and "; all are on the same 0-shot queries." in said


def test_what_is_read_is_declared_and_what_is_declared_is_read(made, tmp_path, monkeypatch):
    view, opened = view_of("table_methods", made, fv=SCOPE, tv=SCOPE, groups=GROUPS, scopes={"caa": SCOPE}), set()
    real = type(view).__truediv__
    monkeypatch.setattr(type(view), "__truediv__", lambda self, path: opened.add(path) or real(self, path))
    methods.write(view, tmp_path)
    steps = {path.split("/")[1] for path in opened}
    assert steps == {step for step in PRODUCTS["table_methods"].inputs if (made / MODELS[0] / step).exists()}
    assert opened == {path for path in view.paths if path.split("/")[1] in steps}


ASKED, TOLD = made_dola.SETS[0][0], made_dola.SETS[1][0]


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """DoLa on two sets of three models; CAA, with scores that DoLa has in some setting, on the same."""
    folder = made_dola.write_scores(tmp_path_factory.mktemp("answered"))
    edits = {("", "base"): (0.0, -1), ("50-100", "no_softmax"): (1.0, 0), ("0-50", "no_softmax"): (1.0, 1)}
    for model in made_dola.MODELS:
        for name in (ASKED, TOLD):
            frame = read_parquet(folder / model / "dola" / f"{name}.parquet", DOLA).query("alpha == 0")
            parts = [
                frame[(frame["bucket"] == bucket) & (frame["variant"] == variant)].assign(
                    strength=strength, layer=layer
                )
                for (bucket, variant), (strength, layer) in edits.items()
            ]
            made = pd.concat(parts, ignore_index=True).assign(fold=0)[list(STEERED_ANSWERS.columns)]
            write_parquet(folder / model / "caa_answers" / f"{name}.parquet", made, STEERED_ANSWERS)
    return folder


@pytest.mark.parametrize(
    "switches",
    [{}, {"selection": "halves"}, {"ties": "shared", "dola_mask": "removed", "score_dtype": "float64"}],
    ids=["as_published", "halves", "other_switches"],
)
def test_dola_has_the_numbers_of_tables_1_and_2(answered, tmp_path, switches):
    models = list(made_dola.MODELS)
    scopes = {"dola": (models, [ASKED, TOLD]), "caa": (models, [])}
    more = {"scopes": scopes, "asked": {"caa": (models[:2], [ASKED, TOLD])}, "forms": made_dola.SETS} | switches
    for rule in ("table_methods_questions", "tables_dola", "dola_changes"):
        write(rule, answered, tmp_path, **more)
    got = read_parquet(tmp_path / "table_methods_questions.parquet", CELLS).set_index(["row", "column"])
    changes = pd.read_parquet(tmp_path / "dola_changes.parquet").set_index(["model", "questions", "metric"])
    compared = set()
    for number, name, metrics, scale in ((1, ASKED, ("MC1", "MC2", "MC3"), 1), (2, TOLD, ("accuracy",), 100)):
        own = made_dola.cells_of(tmp_path, number)["value"]
        for model in models[:2]:
            mine = got.loc[f"DoLa, {model} ({name})"]
            assert {column.split()[0] for column in mine.index} == set(metrics)
            for metric in metrics:
                for what, theirs in (("unsteered", "base"), ("steered", "DoLa")):
                    value = own[f"{model} ({name})", f"{metric} {theirs}"]
                    assert scale * mine.loc[f"{metric} {what}", "value"] == pytest.approx(value, abs=1e-9)
                cell, change = mine.loc[f"{metric} change"], changes.loc[(model, name, metric)]
                ends = [change["change"], change["ci_low"], change["ci_high"]]
                assert cell[["value", "ci_low", "ci_high"]].tolist() == pytest.approx(ends, abs=1e-9)
                assert cell["n"] == change["n"] == 30
                compared.add(round(cell["value"], 6))
    assert len(compared) == 8  # so that no change was compared with another one
    # DoLa's third model has no steering method beside it.
    assert set(got.index.get_level_values("row")) == {
        f"{method}, {model} ({name})" for method in ("DoLa", "CAA") for model in models[:2] for name in (ASKED, TOLD)
    }
    for _, cell in got.reset_index().iterrows():
        assert recompute(answered, cell) == pytest.approx(cell["value"], abs=1e-9), cell["row"]
