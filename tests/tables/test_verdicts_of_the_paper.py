"""The tables of verdicts on function and task vectors, on made-up results, against loops over halves and items."""

import numpy as np
import pandas as pd
import pytest
from lab import CHECKOUT
from made_study import write_study, write_task_vectors
from views import view_of

from offcourse.analysis.benefits import BENEFITS, judged, verdict
from offcourse.analysis.selection import repetitions
from offcourse.data.registry import Registry
from offcourse.graph.products import PRODUCTS, products_of
from offcourse.run.products import code_of
from offcourse.schemas.function_vectors import FV_CONTROLS, STEERING_SWEEP
from offcourse.schemas.io import read_parquet, write_parquet
from offcourse.study.config import read_study
from offcourse.tables import verdicts_function_vectors, verdicts_task_vectors

MODELS, TASKS = ["tiny-0.1b", "middle-27b"], ["antonym", "present-past"]
SCOPE = (MODELS, TASKS)
SETTING = ["n_heads", "strength", "layer"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Sweeps of two models; the first has controls of two kinds, and an instruction that half of the items follow."""
    folder = write_study(tmp_path_factory.mktemp("paper"), tasks=TASKS)
    write_task_vectors(folder, MODELS, TASKS)
    random = np.random.default_rng(2)
    for task in TASKS:
        sweep = pd.read_parquet(folder / MODELS[0] / "fv_sweep" / f"{task}.parquet")
        parts = [
            sweep.assign(control=control, draw=0, hit=random.random(len(sweep)) < share)
            for control, share in (("random_direction", 0.05), ("read_position", 0.9), ("other_task", 0.1))
        ]
        frame = pd.concat(parts)[list(FV_CONTROLS.columns)]
        write_parquet(folder / MODELS[0] / "fv_controls" / f"{task}.parquet", frame, FV_CONTROLS)
        rows = [(s, 0, item, random.random() < 0.5) for s in (0.0, 5.0) for item in range(50)]
        frame = pd.DataFrame(rows, columns=list(STEERING_SWEEP.columns))
        write_parquet(folder / MODELS[0] / "prompting_sweep" / f"{task}.parquet", frame, STEERING_SWEEP)
    return folder


def table(made, out, rule: str, **more) -> pd.DataFrame:
    code_of(PRODUCTS[rule])(view_of(rule, made, **more), out)
    return read_parquet(out / f"{rule}.parquet", BENEFITS)


def held_out(grid: list[list[float]], task: str) -> list[float]:
    """Each item in the setting that is best on the other half, mean over the halvings."""
    items = len(grid[0])
    total = [0.0] * items
    for directions in (halvings := repetitions("halves", task, items)):
        for chosen_on, reported_on in directions:
            counts = [sum(hit for hit, there in zip(row, chosen_on, strict=True) if there) for row in grid]
            best = grid[counts.index(max(counts))]
            for item in range(items):
                total[item] += best[item] if reported_on[item] else 0.0
    return [each / len(halvings) for each in total]


def grid_of(frame: pd.DataFrame, axes: list[str]) -> list[list[float]]:
    return [mine.sort_values("item")["hit"].astype(float).tolist() for _, mine in frame.groupby(axes, sort=True)]


def test_function_vectors_are_held_out_and_compared_with_luck_and_prompting(made, tmp_path):
    got = table(made, tmp_path, "verdicts_function_vectors", fv=SCOPE).set_index(["model", "on"])
    assert list(got.index) == [(model, task) for model in MODELS for task in TASKS]
    for (model, task), row in got.iterrows():
        icl = pd.read_parquet(made / model / "icl" / f"{task}.parquet")
        base, few = (icl[icl["shots"] == k].sort_values("item")["hit"].astype(float).tolist() for k in (0, 5))
        steered = held_out(grid_of(pd.read_parquet(made / model / "fv_sweep" / f"{task}.parquet"), SETTING), task)
        assert row["unsteered"] == pytest.approx(np.mean(base)) and row["few_shot"] == pytest.approx(np.mean(few))
        assert row["steered"] == pytest.approx(np.mean(steered))
        assert row["gain"] == pytest.approx(np.mean(steered) - np.mean(base))
        prompts, luck = [few], None
        if model == MODELS[0]:
            asked = pd.read_parquet(made / model / "prompting_sweep" / f"{task}.parquet")
            prompts += grid_of(asked, ["strength", "layer"])
            controls = pd.read_parquet(made / model / "fv_controls" / f"{task}.parquet")
            # The other read position is no control that should do nothing.
            controls = controls[controls["control"] != "read_position"]
            # Of equally good settings the first counts, and doing nothing comes before every control.
            hits = grid_of(controls, ["control", "draw", *SETTING])
            luck = np.mean(held_out([base, *hits], task))
            assert row["control"] == pytest.approx(np.mean(held_out(hits, task)))
            assert row["over_luck"] == pytest.approx(np.mean(steered) - luck)
        else:
            assert pd.isna(row["control"]) and row["over_luck"] == row["gain"]
        assert row["over_prompting"] == pytest.approx(np.mean(steered) - np.mean(held_out(prompts, task)))
        assert row["gain_low"] <= row["gain"] <= row["gain_high"]
    assert got["verdict"].nunique() > 1
    assert (tmp_path / "verdicts_function_vectors.md").read_text().count("not measured") >= 1


def test_controls_that_should_not_do_nothing_are_no_luck(made, tmp_path):
    """A study whose one control is the other read position has luck by swapping, as one without controls."""
    for task in TASKS:
        path = made / MODELS[0] / "fv_controls" / f"{task}.parquet"
        frame = read_parquet(path, FV_CONTROLS)
        write_parquet(
            tmp_path / MODELS[0] / "fv_controls" / path.name, frame.query("control == 'read_position'"), FV_CONTROLS
        )
        for step in ("icl", "fv_sweep", "prompting_sweep"):
            target = tmp_path / MODELS[0] / step / path.name
            target.parent.mkdir(exist_ok=True)
            target.symlink_to(made / MODELS[0] / step / path.name)
    view = view_of("verdicts_function_vectors", tmp_path, fv=(MODELS[:1], TASKS))
    rows = [verdicts_function_vectors.row_of(view, MODELS[0], task) for task in TASKS]
    assert all("control" not in row and row["over_luck"] == row["gain"] for row in rows)


def test_task_vectors_have_the_layer_of_the_development_prompts_and_a_word_by_the_rules(made, tmp_path):
    got = table(made, tmp_path, "verdicts_task_vectors", tv=SCOPE)
    for row in got.to_dict("records"):
        sweep = pd.read_parquet(made / row["model"] / "tv_sweep" / f"{row['on']}.parquet")
        share = {
            (split, layer): np.mean(list(mine["hit"])) for (split, layer), mine in sweep.groupby(["split", "layer"])
        }
        layer = max(range(5), key=lambda layer: share["dev", layer])
        icl = pd.read_parquet(made / row["model"] / "tv_icl" / f"{row['on']}.parquet")
        few, zero = (icl[icl["shots"] == k]["hit"].mean() for k in (5, 0))
        assert row["setting"] == f"layer {layer}, chosen on the development prompts"
        assert row["steered"] == pytest.approx(share["test", layer])
        assert (row["unsteered"], row["few_shot"], row["prompting"]) == pytest.approx((zero, few, few))
        assert row["over_prompting"] == pytest.approx(share["test", layer] - few)
        assert row["verdict"] == verdict(row)
    view = view_of("verdicts_task_vectors", made, tv=SCOPE)
    alone = [verdicts_task_vectors.row_of(view, *MODELS[:1], task) for task in TASKS]
    assert judged(alone)["p_luck"].tolist() == got["p_luck"].tolist()[:2]


@pytest.mark.parametrize("rule", ["verdicts_function_vectors", "verdicts_task_vectors", "verdicts_questions"])
def test_a_study_without_prompting_has_none_of_these_tables(rule):
    """The default study's keys and files stay what they are."""
    registry = Registry.load()
    for name, there in (("studies/smoke.yaml", False), ("config.yaml", False), ("studies/bench.yaml", True)):
        assert (rule in products_of(read_study(CHECKOUT / name), registry)) == there
