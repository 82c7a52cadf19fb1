import numpy as np
import pandas as pd
import pytest
from made_prompts import write_prompts
from scipy.stats import fisher_exact

from offcourse.analysis.steering_summary import HARMS, UNSURE, WORKS, steering_summary
from offcourse.errors import OffcourseError
from offcourse.schemas.function_vectors import FV_SWEEP, ICL
from offcourse.schemas.io import write_parquet
from offcourse.schemas.results import CELLS, as_cells
from offcourse.schemas.task_vectors import TV_SWEEP

LAYERS, ITEMS = 6, 40


@pytest.fixture
def results(tmp_path):
    """A model with a strong task, a hopeless one, task vectors that work at layer 4, and DoLa that harms."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.json").write_text(f'{{"layers": {LAYERS}, "label": "M"}}')
    random = np.random.default_rng(0)
    for task, best in (("strong", 0.9), ("hopeless", 0.05)):
        shots = [(k, item, random.random() < (0.05 if k == 0 else 0.9)) for k in (0, 5) for item in range(ITEMS)]
        sweep = [
            (
                heads,
                strength,
                layer,
                item,
                random.random() < (best if (heads, strength, layer) == (16, 2.0, 3) else 0.05),
            )
            for heads in (2, 16)
            for strength in (1.0, 2.0)
            for layer in range(LAYERS)
            for item in range(ITEMS)
        ]
        save(tmp_path / f"m/icl/{task}.parquet", shots, ICL)
        save(tmp_path / f"m/fv_sweep/{task}.parquet", sweep, FV_SWEEP)
        write_prompts(
            tmp_path / f"m/prompts/{task}.parquet",
            function_vectors=[max(0, item - 29) for item in range(ITEMS)],
            task_vectors=list(range(ITEMS)),
        )
    tv = [
        (split, layer, item, layer == 4 and item < 30)
        for split in ("dev", "test")
        for layer in range(LAYERS)
        for item in range(ITEMS)
    ]
    save(tmp_path / "m/tv_sweep/strong.parquet", tv, TV_SWEEP)
    save(tmp_path / "m/tv_icl/strong.parquet", [(k, i, k == 5) for k in (0, 5) for i in range(80)], ICL)
    cell = (100, None, None, "share of questions", "[]")
    rows = [
        ("m (q)", name, value, *cell) for name, value in (("MC1 base", 0.4), ("MC1 DoLa", 0.2), ("McNemar p", 0.001))
    ]
    (tmp_path / "tables").mkdir()
    write_parquet(tmp_path / "tables/table1.parquet", as_cells(rows), CELLS)
    return tmp_path


def save(path, rows, schema):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(path, pd.DataFrame(rows, columns=list(schema.columns)), schema)


def test_what_works_what_does_not_and_what_harms(results):
    frame = steering_summary(results, (["m"], ["strong", "hopeless"]), (["m"], ["strong"]), (1,))
    found = frame.set_index(["method", "on"])
    assert found["verdict"].to_dict() == {
        ("function vector", "strong"): WORKS,
        ("function vector", "hopeless"): UNSURE,
        ("task vector", "strong"): WORKS,
        ("DoLa", "q"): HARMS,
    }
    best = found.loc["function vector", "strong"]
    assert (best["layer"], best["layers"], best["setting"]) == (3, LAYERS, "16 heads, strength 2")
    assert best["steered"] > 0.7 and best["items"] == ITEMS
    # Holm's factor is the number of rows of the method.
    assert best["p_holm"] == pytest.approx(2 * best["p"])
    vector = found.loc["task vector", "strong"]
    assert (vector["layer"], vector["steered"], vector["unsteered"]) == (4, 0.75, 0.0)
    assert vector["p"] == pytest.approx(fisher_exact([[30, 10], [0, 80]]).pvalue)
    assert found.loc["DoLa", "q"]["p"] == 0.001
    # 30 of 40 answers begin with token 0, and each of the other ten with its own.
    assert (best["chance"], best["targets"]) == (0.75, 11)
    assert (vector["chance"], vector["targets"]) == (1 / ITEMS, ITEMS)
    assert found.loc["DoLa", "q"][["chance", "targets"]].isna().all()


def test_prompts_that_do_not_say_how_their_targets_differ_are_named(results):
    path = results / "m/prompts/strong.parquet"
    pd.read_parquet(path).pipe(lambda frame: pd.DataFrame(frame.to_dict("list"))).to_parquet(path)
    with pytest.raises(OffcourseError, match=r"prompts/strong\.parquet does not say how its targets differ"):
        steering_summary(results, (["m"], ["strong"]))


def test_a_gain_that_the_best_of_the_grid_has_by_luck_is_no_effect(results):
    """The best of 24 settings of a vector that does nothing is above the base, and yet not taken for an effect."""
    frame = steering_summary(results, (["m"], ["hopeless"]))
    row = frame.iloc[0]
    assert row["steered"] > row["unsteered"]
    assert row["verdict"] == UNSURE


def test_items_that_do_not_pair_are_refused(results):
    rows = [(0, item, False) for item in range(ITEMS - 1)] + [(5, item, True) for item in range(ITEMS - 1)]
    save(results / "m/icl/strong.parquet", rows, ICL)
    with pytest.raises(OffcourseError, match="m strong: the items without steering"):
        steering_summary(results, (["m"], ["strong"]))
