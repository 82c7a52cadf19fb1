"""The tables behind the claims, against the tables and results that they repeat."""

from itertools import combinations

import made_dola
import numpy as np
import pandas as pd
import pytest
from made_study import write_task_vectors
from views import write

from offcourse.analysis import inference
from offcourse.claims import recovery_rules
from offcourse.claims.verdicts import study_numbers
from offcourse.schemas.io import read_parquet
from offcourse.tables import table3
from offcourse.tables.dola_changes import CHANGES
from offcourse.tables.head_overlap import OVERLAP, shared
from offcourse.tables.recovery import RECOVERY

MODELS, TASKS = ["tiny-0.1b", "middle-27b"], ["antonym", "country-capital", "present-past"]


@pytest.mark.parametrize("selection", ["same_items", "halves"])
def test_recovery_counted_pair_by_pair_is_table_3(study, tmp_path, selection):
    asked = {"fv": (MODELS, TASKS), "selection": selection}
    write("recovery", study, tmp_path, **asked)
    write("table3", study, tmp_path, **asked)
    frame = read_parquet(tmp_path / "recovery.parquet", RECOVERY)
    cells = pd.read_parquet(tmp_path / "table3.parquet")
    numbers = study_numbers({}, {}, {"recovery": frame})
    checked = 0
    for cell in cells[(cells["unit"] == table3.PERCENT) & cells["value"].notna()].itertuples():
        found = recovery_rules.share_recovered(numbers, "3", cell.row, cell.column)
        assert (found.value, found.low, found.high) == pytest.approx((cell.value, cell.ci_low, cell.ci_high))
        assert found.n == cell.n
        # The table alone names the models behind a cell.
        alone = recovery_rules.share_recovered(study_numbers({3: cells}, {}), "3", cell.row, cell.column)
        assert alone.models == found.models
        checked += 1
    assert checked == 8


def test_recovery_by_heads_is_the_best_of_what_has_so_many(study, tmp_path):
    write("recovery", study, tmp_path, fv=(MODELS, TASKS))
    frame = read_parquet(tmp_path / "recovery.parquet", RECOVERY)
    for (model, task, n_heads), [row] in (
        (key, list(rows.itertuples()))
        for key, rows in frame[frame["method"] == "FV heads"].groupby(["model", "task", "n_heads"])
    ):
        sweep = pd.read_parquet(study / model / "fv_sweep" / f"{task}.parquet")
        mine = sweep[sweep["n_heads"] == n_heads]
        by_layer = mine.groupby(["strength", "layer"])["hit"].mean()
        assert row.peak == pytest.approx(by_layer.max())
        assert row.average == pytest.approx(by_layer.groupby("strength").mean().max())
    search = frame[frame["method"] == "FV search"].set_index(["model", "task"])["peak"]
    assert search.equals(frame[frame["method"] == "FV heads"].groupby(["model", "task"], sort=False)["peak"].max())
    assert (frame["few_shot"] == frame["own_few_shot"]).all()


@pytest.mark.parametrize("denominator", ["own", "previous_model"])
def test_task_vectors_keep_their_own_few_shot_accuracy_beside_what_table_3_divides_by(tmp_path, denominator):
    tasks = ["antonym", "english-french"]
    write_task_vectors(tmp_path, ["a", "b"], tasks)
    groups = {"english-french": "from-english"}
    asked = {"tv": (["a", "b"], tasks), "groups": groups, "tv_denominator": denominator}
    write("recovery", tmp_path, tmp_path, **asked)
    write("table3", tmp_path, tmp_path, **asked)
    frame = read_parquet(tmp_path / "recovery.parquet", RECOVERY)
    own = {}
    for row in frame.itertuples():
        icl = pd.read_parquet(tmp_path / row.model / "tv_icl" / f"{row.task}.parquet")
        own[row.model, row.task] = icl[icl["shots"] == icl["shots"].max()]["hit"].mean()
        assert row.own_few_shot == pytest.approx(own[row.model, row.task])
        sweep = pd.read_parquet(tmp_path / row.model / "tv_sweep" / f"{row.task}.parquet")
        dev = sweep[sweep["split"] == "dev"].groupby("layer")["hit"].mean()
        assert (row.peak, row.average) == pytest.approx((dev.max(), dev.mean()))
    stale = own["a", "english-french"]
    for row in frame.itertuples():
        left_over = denominator == "previous_model" and row.model == "b"
        assert row.few_shot == pytest.approx(stale if left_over else row.own_few_shot)
    cells = pd.read_parquet(tmp_path / "table3.parquet")
    numbers = study_numbers({}, {}, {"recovery": frame})
    for cell in cells[cells["unit"] == table3.PERCENT].itertuples():
        assert recovery_rules.share_recovered(numbers, "3", "TV", cell.column).value == pytest.approx(cell.value)


def test_changes_are_those_of_tables_1_and_2_with_ends_of_paired_questions(dola_results, tmp_path):
    models = list(made_dola.MODELS)
    asked = {"dola": (models, ["asked", "told"]), "forms": made_dola.SETS}
    for rule in ("dola_changes", "tables_dola"):
        write(rule, dola_results, tmp_path, **asked)
    frame = read_parquet(tmp_path / "dola_changes.parquet", CHANGES)
    for number, scale in ((1, 1), (2, 100)):
        cells = pd.read_parquet(tmp_path / f"table{number}.parquet").set_index(["row", "column"])["value"]
        for row in frame[(frame["metric"] == "accuracy") == (number == 2)].itertuples():
            sides = [cells[f"{row.model} ({row.questions})", f"{row.metric} {side}"] for side in ("DoLa", "base")]
            assert row.change == pytest.approx((sides[0] - sides[1]) / scale)
            assert row.ci_low <= row.change <= row.ci_high
    assert len(frame) == len(models) * 4
    random = np.random.default_rng(0)
    values = np.array([1.0] * 6 + [-1.0] * 2 + [0.0] * 22)
    means = [random.choice(values, 30).mean() for _ in range(4000)]
    found = inference.over_items(values, "told", (-1.0, 1.0))
    assert found == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.03)


def test_shared_heads_are_counted_and_chance_is_that_of_random_heads():
    heads = [(layer, head) for layer in range(4) for head in range(25)]
    order = {"a": heads, "b": heads[5:] + heads[:5], "c": heads[::-1]}
    found = {(task, other, strongest): (both, chance) for task, other, strongest, both, chance in shared(order)}
    assert set(found) == {(*pair, n) for pair in combinations("abc", 2) for n in (5, 10, 20)}
    assert found["a", "b", 10] == (5, 1.0) and found["a", "c", 20] == (0, 4.0) and found["a", "b", 5][0] == 0
    random = np.random.default_rng(0)
    drawn = [len(set(random.choice(100, 10, False)) & set(random.choice(100, 10, False))) for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(1.0, abs=0.06)
    assert [row[2] for row in shared({"a": heads[:12], "b": heads[:12]})] == [5, 10]


def test_strongest_heads_are_those_of_the_results(study, tmp_path):
    write("head_overlap", study, tmp_path, fv=(MODELS, TASKS))
    frame = read_parquet(tmp_path / "head_overlap.parquet", OVERLAP)
    assert len(frame) and set(frame["model"]) == set(MODELS)
    for row in frame.itertuples():
        top = []
        for task in (row.task, row.other):
            effects = pd.read_parquet(study / row.model / "cie" / f"{task}.parquet")
            means = effects.astype({"effect": float}).groupby(["layer", "head"])["effect"].mean()
            top.append(set(means.nlargest(row.strongest).index))
        assert row.shared == len(top[0] & top[1])
