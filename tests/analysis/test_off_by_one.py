"""The table of both read positions on made-up sweeps: which sweep is which vector, its tests, and the verdicts."""

import itertools

import numpy as np
import pandas as pd
import pytest
from views import write

from offcourse.analysis import off_by_one as module
from offcourse.analysis.inference import best_differs, difference_of_best
from offcourse.errors import OffcourseError
from offcourse.schemas.function_vectors import FV_CONTROLS, FV_SWEEP, ICL
from offcourse.schemas.io import read_parquet, write_parquet
from offcourse.schemas.results import OFF_BY_ONE

TASKS = ["antonym", "present-past"]
MODELS = {"with-bos": (2, 4, 1e8), "without": (2, 4, 1e8)}
GRID = {"n_heads": (2, 16), "strengths": (1.0,)}
CONTROLS = ["read_position", "read_position_heads", "read_position_means", "rebuilt"]
# Hits of 50 items at the best setting, for (heads chosen early, means read early) and draw.
HITS = {
    (0, 0, 0): 40,
    (1, 1, 0): 2,
    (1, 0, 0): 39,
    (0, 1, 0): 3,
    (0, 0, 1): 35,
    (1, 1, 1): 4,
    (1, 0, 1): 34,
    (0, 1, 1): 5,
}


def sweep(hits: int, items: int = 50, layers: int = 2) -> pd.DataFrame:
    """The first items hit at the second layer of the second setting, and nothing else."""
    rows = [
        (k, 1.0, layer, item, bool(k == 16 and layer == 1 and item < hits))
        for k, layer, item in itertools.product((2, 16), range(layers), range(items))
    ]
    return pd.DataFrame(rows, columns=list(FV_SWEEP.columns))


def fill(results, model: str, task: str, early: bool, hits=HITS, silent: bool = False) -> None:
    """The results of a study that reads `model` one token early, or at the last. silent: no item is ever hit."""
    folder = results / model
    rows = [(shots, item, shots > 0 and item < 45) for shots in range(11) for item in range(50)]
    write_parquet(folder / "icl" / f"{task}.parquet", pd.DataFrame(rows, columns=list(ICL.columns)), ICL)
    parts = []
    for control, turned in zip(CONTROLS, ((1, 1), (1, 0), (0, 1), (0, 0)), strict=True):
        for draw in (0, 1):
            place = *(int(other != early) for other in turned), draw
            made = sweep(0 if silent else hits[place])
            if (control, draw) == ("rebuilt", 0):
                write_parquet(folder / "fv_sweep" / f"{task}.parquet", made, FV_SWEEP)
            else:
                parts.append(made.assign(control=control, draw=draw))
    write_parquet(folder / "fv_controls" / f"{task}.parquet", pd.concat(parts)[list(FV_CONTROLS.columns)], FV_CONTROLS)


@pytest.fixture
def results(make_study):
    return make_study(models=MODELS, tasks=TASKS, **GRID)


@pytest.mark.parametrize("position", ["as_coded", "last", "one_early"])
def test_each_vector_is_found_whatever_the_study_reads(results, tmp_path, position):
    """`with-bos` is called tiny nowhere, so its model.json says that its tokenizer adds a BOS; the other's does not."""
    path = results / "without" / "model.json"
    path.write_text(path.read_text().replace('"adds_bos": true', '"adds_bos": false'))
    for model, task in itertools.product(MODELS, TASKS):
        early = position == "one_early" or (position == "as_coded" and model == "with-bos")
        fill(results, model, task, early)
    asked = {"settings": {"controls": CONTROLS, "build_draws": 2}, "head_read_position": position}
    write("off_by_one", results, tmp_path, fv=(list(MODELS), TASKS), **asked)
    frame = read_parquet(tmp_path / "off_by_one.parquet", OFF_BY_ONE)
    assert len(frame) == 2 * 2 * 2 * 4
    for row in frame.to_dict("records"):
        heads, means = module.VECTORS[row["vector"]]
        hits = HITS[int(heads), int(means), row["seed"] - 42]
        assert row["accuracy"] == hits / 50 and row["low"] < hits / 50 < row["high"]
        assert row["adds_bos"] == (row["model"] == "with-bos") and row["settings"] == 4
        if row["vector"] != "last":
            assert row["difference"] == pytest.approx((HITS[0, 0, row["seed"] - 42] - hits) / 50)
            assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    verdicts = frame.groupby("vector")["verdict"].unique().map(list).to_dict()
    expected = {
        "last": "works",
        "early_heads": module.UNSHOWN,
        "one_early": module.BREAKS,
        "early_means": module.BREAKS,
    }
    assert verdicts == {vector: [verdict] for vector, verdict in expected.items()}
    printed = pd.read_csv(tmp_path / "off_by_one.csv")
    assert printed["one early"].tolist()[0].startswith("0.040 [") and len(printed) == 8


def test_without_halves_and_further_draws_there_are_two_vectors_of_one_seed(results, tmp_path):
    for model, task in itertools.product(MODELS, TASKS):
        fill(results, model, task, early=False)
    asked = {"settings": {"controls": ["read_position"], "build_draws": 2}, "head_read_position": "last"}
    write("off_by_one", results, tmp_path, fv=(list(MODELS), TASKS), **asked)
    frame = read_parquet(tmp_path / "off_by_one.parquet", OFF_BY_ONE)
    assert set(frame["vector"]) == {"last", "one_early"} and set(frame["seed"]) == {42}


def test_where_nothing_works_at_the_last_token_the_test_says_nothing(results, tmp_path):
    for model, task in itertools.product(MODELS, TASKS):
        fill(results, model, task, early=False, silent=task == "antonym")
    asked = {"settings": {"controls": CONTROLS, "build_draws": 2}, "head_read_position": "last"}
    write("off_by_one", results, tmp_path, fv=(list(MODELS), TASKS), **asked)
    frame = read_parquet(tmp_path / "off_by_one.parquet", OFF_BY_ONE).set_index("task")
    assert set(frame.loc["antonym", "verdict"]) == {module.SILENT}
    silent = frame.loc["antonym"]
    assert (silent["difference"] == 0).all() and (silent["difference_low"] < 0).all()
    assert module.SILENT not in set(frame.loc["present-past", "verdict"])


def test_holm_is_over_the_runs_of_a_vector(results, tmp_path):
    for model, task in itertools.product(MODELS, TASKS):
        fill(results, model, task, early=False)
    asked = {"settings": {"controls": CONTROLS, "build_draws": 2}, "head_read_position": "last"}
    write("off_by_one", results, tmp_path, fv=(list(MODELS), TASKS), **asked)
    frame = read_parquet(tmp_path / "off_by_one.parquet", OFF_BY_ONE)
    for _, mine in frame.groupby("vector"):
        ranked, running = mine.sort_values("p"), 0.0
        for place, row in enumerate(ranked.to_dict("records")):
            running = max(running, min(1.0, (len(ranked) - place) * row["p"]))
            assert row["p_holm"] == pytest.approx(running)


def test_a_control_that_the_results_lack_is_named(results, tmp_path):
    for model, task in itertools.product(MODELS, TASKS):
        fill(results, model, task, early=False)
    path = results / "without" / "fv_controls" / "antonym.parquet"
    write_parquet(path, pd.read_parquet(path).query("control != 'rebuilt'"), FV_CONTROLS)
    asked = {"settings": {"controls": CONTROLS, "build_draws": 2}, "head_read_position": "last"}
    with pytest.raises(OffcourseError, match=r"without/fv_controls/antonym.parquet holds no draw 1 of rebuilt"):
        write("off_by_one", results, tmp_path, fv=(list(MODELS), TASKS), **asked)


def exact(one: np.ndarray, other: np.ndarray) -> float:
    """The p of every way to swap, counted one by one."""
    found, as_large = one.sum(1).max() - other.sum(1).max(), [0, 0, 0]
    for swapped in itertools.product((False, True), repeat=one.shape[1]):
        first, second = np.where(swapped, other, one), np.where(swapped, one, other)
        difference = first.sum(1).max() - second.sum(1).max()
        as_large[0] += difference >= found
        as_large[1] += difference <= found
        as_large[2] += 1
    return min(1.0, 2 * min(as_large[:2]) / as_large[2])


@pytest.mark.parametrize("seed", range(4))
def test_the_permutation_test_is_that_of_every_swap(seed):
    random = np.random.default_rng(seed)
    one, other = random.random((5, 9)) < 0.5, random.random((5, 9)) < (0.1, 0.5)[seed % 2]
    # 512 swaps are fewer than the resamples, so that scipy tries them all.
    assert best_differs(one, other, "made up") == pytest.approx(exact(one, other))
    low, high = difference_of_best(one, other, "made up")
    assert low <= one.mean(1).max() - other.mean(1).max() + 0.2 and low < high


def test_vectors_of_other_items_are_not_compared():
    with pytest.raises(OffcourseError, match="item by item"):
        best_differs(np.ones((2, 5)), np.ones((2, 4)), "made up")
