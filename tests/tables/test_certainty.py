"""The certainty table (how certain the best of each grid is) against counting by hand on a made-up study."""

import itertools

import numpy as np
import pandas as pd
import pytest
from made_study import write_study
from scipy.stats import binom
from views import write

from offcourse.data.draws import keyed_generator
from offcourse.schemas.function_vectors import FV_CONTROLS, ICL, STEERING_SWEEP
from offcourse.schemas.io import read_parquet, write_parquet
from offcourse.schemas.questions import DOLA
from offcourse.schemas.results import CERTAINTY
from offcourse.schemas.task_vectors import TV_SWEEP

MODELS = {"tiny-0.1b": (3, 4, 1e8), "huge-70b": (4, 4, 70e9)}
TASKS = ["antonym", "present-past"]
LAYERS, ITEMS, UNSTEERED = 4, 12, 30
BUCKETS, ALPHAS = ("0-50", "50-100"), (0.0, 0.5)
SWITCHES = {"dola_mask": "constant", "ties": "as_coded", "score_dtype": "model"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    results = write_study(
        tmp_path_factory.mktemp("study"), models=MODELS, tasks=TASKS, n_heads=(2, 16), strengths=(1.0,), trials=1
    )
    random = np.random.default_rng(3)
    for model in MODELS:
        for task in TASKS:
            grid = itertools.product(("dev", "test"), range(LAYERS), range(ITEMS))
            rows = [(*at, random.random() < 0.2 + 0.1 * at[1]) for at in grid]
            tv_sweep = pd.DataFrame(rows, columns=list(TV_SWEEP.columns))
            write_parquet(results / model / "tv_sweep" / f"{task}.parquet", tv_sweep, TV_SWEEP)
            rows = [(0, item, item == 7) for item in range(UNSTEERED)] + [(5, item, item < 6) for item in range(ITEMS)]
            write_parquet(
                results / model / "tv_icl" / f"{task}.parquet", pd.DataFrame(rows, columns=list(ICL.columns)), ICL
            )
        settings = [("", 0.0, "base"), *((bucket, alpha, "softmax") for bucket in BUCKETS for alpha in ALPHAS)]
        rows = [
            (question, answer, kind, 3, *setting, random.normal() + (kind == "best"), 0)
            for question in range(ITEMS)
            for answer, kind in enumerate(["best", "false", "false"])
            for setting in settings
        ]
        frame = pd.DataFrame(rows, columns=list(DOLA.columns))
        frame.attrs["premature_layers"] = {"0-50": {"0": 30}, "50-100": {"2": 20}}
        write_parquet(results / model / "dola" / "asked.parquet", frame, DOLA)
    return results


@pytest.fixture(scope="module")
def table(results) -> pd.DataFrame:
    pairs = list(MODELS), TASKS
    dola = list(MODELS), ["asked"]
    forms = [("asked", "primer")]
    write("certainty", results, results / "tables", fv=pairs, tv=pairs, dola=dola, forms=forms, **SWITCHES)
    return read_parquet(results / "tables" / "certainty.parquet", CERTAINTY).set_index(["method", "model", "on"])


def swept(results, model, task) -> list[list[bool]]:
    """Hits by setting, an inner list per setting in the items' order."""
    frame = pd.read_parquet(results / model / "fv_sweep" / f"{task}.parquet")
    return [list(mine.sort_values("item")["hit"]) for _, mine in frame.groupby(["n_heads", "strength", "layer"])]


def other_half(hits: list[list[bool]], unit: str) -> float:
    found = []
    for halving in range(20):
        first = keyed_generator(0, unit, "halving", halving).permutation(len(hits[0])) < len(hits[0]) // 2
        for here in (first, ~first):
            best = max(hits, key=lambda row: sum(hit for hit, mine in zip(row, here, strict=True) if mine))
            found += [hit for hit, mine in zip(best, here, strict=True) if not mine]
    return sum(found) / len(found)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", MODELS)
def test_function_vectors(results, table, model, task):
    row, hits = table.loc["function vector", model, task], swept(results, model, task)
    shots = pd.read_parquet(results / model / "icl" / f"{task}.parquet")
    base = list(shots[shots["shots"] == 0].sort_values("item")["hit"])
    assert (row["items"], row["settings"]) == (len(base), len(hits))
    assert row["without"] == pytest.approx(sum(base) / len(base))
    assert row["few_shot"] == pytest.approx(shots[shots["shots"] == 5]["hit"].mean())
    assert row["best"] == pytest.approx(max(map(sum, hits)) / len(base))
    assert row["best_low"] < row["best"] < row["best_high"]
    assert row["held_out"] == pytest.approx(other_half(hits, task))
    assert row["held_out_low"] < row["held_out"] < row["held_out_high"]
    # Many swaps, counted one by one: the settings swap together.
    random, gains = np.random.default_rng(0), np.array(hits, float) - np.array(base, float)
    largest = [(gains * random.choice([-1, 1], len(base))).mean(1).max() for _ in range(3000)]
    assert row["by_luck"] == pytest.approx(np.mean(largest), abs=0.01)
    assert row["p"] == pytest.approx(np.mean(np.array(largest) >= gains.mean(1).max() - 1e-9), abs=0.03)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", MODELS)
def test_task_vectors(results, table, model, task):
    row = table.loc["task vector", model, task]
    frame = pd.read_parquet(results / model / "tv_sweep" / f"{task}.parquet")
    hits = frame.groupby(["split", "layer"])["hit"].sum().to_dict()
    dev = [hits["dev", layer] for layer in range(LAYERS)]
    assert row["best"] == pytest.approx(max(dev) / ITEMS)
    assert row["held_out"] == pytest.approx(hits["test", dev.index(max(dev))] / ITEMS)
    # One hit in 30 without a vector.
    below = binom.cdf(max(dev) - 1, ITEMS, 1.5 / 31) ** LAYERS
    assert row["p"] == pytest.approx(1 - below, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_dola_takes_the_best_of_all_buckets_and_alphas(results, table, model):
    row = table.loc["DoLa", model, "asked"]
    frame = pd.read_parquet(results / model / "dola" / "asked.parquet")
    hits = {}
    for key, mine in frame.groupby(["bucket", "alpha", "variant", "question"]):
        best = mine.loc[mine["kind"] == "best", "score"].item()
        hits.setdefault(key[:3], []).append(best > mine.loc[mine["kind"] == "false", "score"].max())
    base = hits.pop(("", 0.0, "base"))
    assert row["settings"] == len(hits) == 4
    assert row["without"] == pytest.approx(np.mean(base))
    assert row["best"] == pytest.approx(max(np.mean(mine) for mine in hits.values()))
    assert np.isnan(row["few_shot"])


@pytest.fixture(scope="module")
def controlled(results):
    """The table with two draws of one control, one of another, and the vector read at the other position."""
    random, drawn = np.random.default_rng(9), (("random_heads", 0), ("random_heads", 1), ("other_task", 0))
    for model in MODELS:
        for task in TASKS:
            sweep = pd.read_parquet(results / model / "fv_sweep" / f"{task}.parquet")
            parts = [sweep.assign(control=name, draw=draw, hit=random.random(len(sweep)) < 0.1) for name, draw in drawn]
            parts.append(sweep.assign(control="read_position", draw=0, hit=True))
            frame = pd.concat(parts)[list(FV_CONTROLS.columns)]
            write_parquet(results / model / "fv_controls" / f"{task}.parquet", frame, FV_CONTROLS)
    out = results / "controlled"
    settings = {"controls": ["random_heads", "other_task", "read_position"]}
    write("certainty", results, out, fv=(list(MODELS), TASKS), settings=settings, **SWITCHES)
    return out, read_parquet(out / "certainty.parquet", CERTAINTY).set_index(["method", "model", "on"])


def test_the_best_of_the_grid_of_each_control_stands_beside_that_of_the_vector(results, controlled):
    out, table = controlled
    best = {}
    for model, task in itertools.product(MODELS, TASKS):
        rows = pd.read_parquet(results / model / "fv_controls" / f"{task}.parquet")
        settings = ["n_heads", "strength", "layer"]
        for (control, draw), mine in rows.groupby(["control", "draw"]):
            best[model, task, control, draw] = max(setting["hit"].mean() for _, setting in mine.groupby(settings))
        row = table.loc["function vector", model, task]
        assert row["random_heads"] == pytest.approx(np.mean([best[model, task, "random_heads", d] for d in (0, 1)]))
        assert row["other_task"] == pytest.approx(best[model, task, "other_task", 0])
        assert np.isnan(row["random_direction"]) and np.isnan(row["shuffled_labels"])
    pairs = table.loc["function vector"]
    row = table.loc["function vector, pairs", "all pairs", "at least 0.50 of few-shot"]
    assert row["other_task"] == (pairs["other_task"] >= 0.5 * pairs["few_shot"] - 1e-9).mean()
    header = (out / "certainty.csv").read_text().splitlines()[0].split(",")
    assert header[-2:] == ["random heads", "other task"]


def test_other_steering_methods_have_their_own_rows(results):
    """On the same queries and against the same hits without a vector."""
    for model, task in itertools.product(MODELS, TASKS):
        sweep = pd.read_parquet(results / model / "fv_sweep" / f"{task}.parquet")
        mine = sweep[sweep["n_heads"] == 16].drop(columns="n_heads")
        write_parquet(results / model / "caa_sweep" / f"{task}.parquet", mine, STEERING_SWEEP)
    out, scope = results / "steered", (list(MODELS), TASKS)
    more = {"scopes": {"caa": scope}, "labels": {"caa": "Contrast"}}
    write("certainty", results, out, fv=scope, **more, **SWITCHES)
    table = read_parquet(out / "certainty.parquet", CERTAINTY).set_index(["method", "model", "on"])
    for model, task in itertools.product(MODELS, TASKS):
        sweep = pd.read_parquet(results / model / "caa_sweep" / f"{task}.parquet")
        hits = [list(part.sort_values("item")["hit"]) for _, part in sweep.groupby(["strength", "layer"])]
        row, other = table.loc["Contrast", model, task], table.loc["function vector", model, task]
        assert (row["settings"], row["items"]) == (len(hits), len(hits[0]))
        assert row["best"] == pytest.approx(max(map(sum, hits)) / len(hits[0]))
        assert row["held_out"] == pytest.approx(other_half(hits, task))
        assert row[["without", "few_shot"]].tolist() == other[["without", "few_shot"]].tolist()
    assert table.loc["Contrast, pairs", "all pairs", "at least 0.50 of few-shot"]["items"] == 4


@pytest.mark.parametrize("method", ["function vector", "task vector"])
def test_pairs_are_counted_as_in_table_3(table, method):
    for quantile in (0.5, 0.75, 0.9, 1.0):
        row = table.loc[f"{method}, pairs", "all pairs", f"at least {quantile:.2f} of few-shot"]
        pairs = table.loc[method]
        assert row["items"] == len(pairs) == 4
        for name in ("best", "held_out"):
            assert row[name] == (pairs[name] >= quantile * pairs["few_shot"] - 1e-9).mean()
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
        assert 0 <= row["by_luck"] <= 1


def test_p_values_are_corrected_within_their_method(table):
    for method, mine in table[table["p"].notna()].groupby("method"):
        ordered, largest = sorted(mine["p"]), 0.0
        for place, p in enumerate(ordered):
            largest = max(largest, min(1.0, p * (len(ordered) - place)))
            assert sorted(mine["p_holm"])[place] == pytest.approx(largest), method


def test_the_page_names_every_row(results, table):
    text = (results / "tables" / "certainty.md").read_text()
    assert text.count("\n| ") == len(table) + 1
    assert "nan" not in text


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("task", TASKS)
def test_the_floor_is_what_rows_without_an_edit_read_and_heads_within_it_are_counted(results, table, model, task):
    rows = pd.read_parquet(results / model / "cie" / f"{task}.parquet").astype({"effect": float, "unedited": float})
    floor = max(
        abs(rows[(rows["layer"] == layer) & (rows["head"] == 0)]["unedited"].mean()) for layer in set(rows["layer"])
    )
    means = {at: mine["effect"].mean() for at, mine in rows.groupby(["layer", "head"])}
    sweep = pd.read_parquet(results / model / "fv_sweep" / f"{task}.parquet")
    best = max(sweep.groupby(["n_heads", "strength", "layer"]), key=lambda one: one[1]["hit"].sum())[0]
    chosen = sorted(means, key=lambda at: -means[at])[: best[0]]
    row = table.loc[("function vector", model, task)]
    assert row["floor"] == pytest.approx(floor, rel=1e-6) and floor > 0
    assert row["within_floor"] == sum(abs(means[at]) <= floor for at in chosen) / len(chosen)


def test_other_methods_have_no_floor(table):
    others = table.drop(index="function vector", level="method")
    assert others["floor"].isna().all() and others["within_floor"].isna().all()
    assert 0 < table.loc[["function vector"]]["within_floor"].mean() < 1
