import itertools
import json

import numpy as np
import pandas as pd
import pytest

from offcourse.analysis import choices
from offcourse.schemas.function_vectors import FV_SWEEP, ICL
from offcourse.schemas.io import write_parquet


def table_of(accuracy: dict[tuple, float]) -> pd.DataFrame:
    rows = [(*key, value, 50) for key, value in sorted(accuracy.items())]
    return pd.DataFrame(rows, columns=["n_heads", "strength", "layer", "accuracy", "n"])


def grid(value: float = 0.1) -> dict[tuple, float]:
    return dict.fromkeys(itertools.product((2, 16, 64), (0.5, 1.0, 4.0), range(4)), value)


def test_the_one_best_setting_is_chosen():
    choice = choices.best_of(table_of(grid() | {(16, 4.0, 3): 0.5}), few_shot=0.8, n_layers=4)
    assert choice == {
        "peak_recovery": pytest.approx(0.625), "n_heads": 16, "strength": 4.0, "layer": 3, "layer_percent": 75.0,
        "n_heads_tied": 1, "strength_tied": 1, "layer_tied": 1,
    }  # fmt: skip


def test_ties_go_to_the_smallest_of_each_on_its_own():
    tied = grid() | {(64, 0.5, 3): 0.5, (16, 4.0, 2): 0.5, (64, 1.0, 1): 0.5}
    choice = choices.best_of(table_of(tied), few_shot=0.5, n_layers=4)
    assert (choice["n_heads"], choice["strength"], choice["layer"]) == (16, 0.5, 1)
    assert (choice["n_heads_tied"], choice["strength_tied"], choice["layer_tied"]) == (2, 3, 3)


def test_the_layer_comes_from_the_profile_over_all_settings():
    random = np.random.default_rng(3)
    accuracy = {key: int(random.integers(51)) / 50 for key in grid()}
    profile = [max(value for key, value in accuracy.items() if key[2] == layer) for layer in range(4)]
    choice = choices.best_of(table_of(accuracy), few_shot=0.9, n_layers=5)
    assert choice["layer"] == profile.index(max(profile))
    assert choice["layer_percent"] == 100 * profile.index(max(profile)) / 5


@pytest.mark.parametrize(("few_shot", "blank"), [(0.5, True), (0.48, False), (0.0, True)])
def test_blank_at_one_fifth_below_it_and_where_undefined(few_shot, blank):
    choice = choices.best_of(table_of(grid(0.1)), few_shot, n_layers=4)
    assert [np.isnan(choice[key]) for key in ("n_heads", "strength", "layer", "layer_percent")] == [blank] * 4
    assert np.isnan(choice["peak_recovery"]) == (few_shot == 0)


def test_best_reads_every_pair_of_the_study(tmp_path):
    for model, layers in (("a-0.1b", 2), ("b", 4)):
        (tmp_path / model).mkdir()
        (tmp_path / model / "model.json").write_text(json.dumps({"layers": layers}))
        for task, items in (("antonym", 50), ("country-capital", 42)):
            icl = pd.DataFrame([(k, i, k > 0) for k in (0, 5) for i in range(items)], columns=list(ICL.columns))
            write_parquet(tmp_path / model / "icl" / f"{task}.parquet", icl, ICL)
            rows = [(2, 1.0, layer, i, layer == 1 and i < 21) for layer in range(layers) for i in range(items)]
            sweep = pd.DataFrame(rows, columns=list(FV_SWEEP.columns))
            write_parquet(tmp_path / model / "fv_sweep" / f"{task}.parquet", sweep, FV_SWEEP)
    best = choices.best(tmp_path, ["b", "a-0.1b"], ["antonym", "country-capital"])
    assert best["model"].tolist() == ["b", "b", "a-0.1b", "a-0.1b"]
    assert best["layer_percent"].tolist() == [25.0, 25.0, 50.0, 50.0]
    assert best["peak_recovery"].tolist() == [0.42, 0.5, 0.42, 0.5]
