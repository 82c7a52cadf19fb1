"""The figure of both read positions: the release beside the study's own runs, or beside those that are tracked."""

import itertools

import pandas as pd
import pytest
from pictures import assert_tidy, texts
from views import draw

from offcourse.analysis import off_by_one
from offcourse.analysis.cells import plotted, recompute_point
from offcourse.claims.findings import FOLDER, read_findings
from offcourse.data.names import RESOURCES
from offcourse.figures import off_by_one as figure
from offcourse.schemas.function_vectors import FV_CONTROLS
from offcourse.schemas.io import read_parquet, write_parquet

MODELS, TASKS = {"one": (2, 4, 1e8), "two": (2, 4, 1e8)}, ["antonym", "present-past"]
CONTROLS = ["read_position", "rebuilt"]


@pytest.fixture
def results(make_study):
    """Two draws of two models on two tasks; read one token early the vector hits half of what it hits otherwise."""
    folder = make_study(models=MODELS, tasks=TASKS, n_heads=(2, 16), strengths=(1.0,))
    for model, task in itertools.product(MODELS, TASKS):
        sweep = pd.read_parquet(folder / model / "fv_sweep" / f"{task}.parquet")
        half = sweep.assign(hit=sweep["hit"] & (sweep["item"] % 2 == 0))
        parts = [half.assign(control="read_position", draw=draw_) for draw_ in (0, 1)]
        frame = pd.concat([*parts, sweep.assign(control="rebuilt", draw=1)])[list(FV_CONTROLS.columns)]
        write_parquet(folder / model / "fv_controls" / f"{task}.parquet", frame, FV_CONTROLS)
    return folder


def test_a_study_with_the_control_draws_its_own_runs_and_each_dot_leads_back(results, tmp_path, drawn):
    asked = {"fv": (list(MODELS), TASKS), "settings": {"controls": CONTROLS, "build_draws": 2}}
    draw("figure_off_by_one", results, tmp_path / "x", head_read_position="last", **asked)
    numbers = read_parquet(tmp_path / "x.parquet", figure.NUMBERS)
    runs, released = (numbers[numbers["panel"] == panel] for panel in ("runs", "released"))
    assert len(runs) == 2 * 2 * 2 * 2 and len(released) == 36
    for point in runs.to_dict("records"):
        assert plotted(point) == ["best"]
        assert recompute_point(results, point, "best") == pytest.approx(point["best"])
    pairs = runs.pivot(index=["model", "task", "seed"], columns="read", values="best")
    assert (pairs["one_early"] < pairs["last"]).all()
    assert runs.loc[runs["read"] == "last", "difference"].isna().all()
    assert not released["sources"].map(lambda text: text != "[]").any()
    said = texts(drawn[0])
    assert any(text.endswith("(this study)") for text in said)
    assert "One\nPresent → Past, seed 43" in said
    assert_tidy(drawn[0])


def test_without_the_control_the_runs_are_the_tracked_ones(results, tmp_path, drawn):
    draw("figure_off_by_one", results, tmp_path / "x", fv=(list(MODELS), TASKS), settings={"controls": []})
    numbers, found = read_parquet(tmp_path / "x.parquet", figure.NUMBERS), read_findings(RESOURCES / FOLDER)
    runs = numbers[numbers["panel"] == "runs"]
    tracked = found.runs[found.runs["vector"].isin([off_by_one.LAST, off_by_one.EARLY])]
    assert runs["best"].tolist() == tracked["accuracy"].tolist() and set(runs["sources"]) <= {"[]"}
    assert ("not run yet" in texts(drawn[0])) == runs.empty
    assert any(text.endswith("(the study off-by-one)") for text in texts(drawn[0]))
    assert_tidy(drawn[0])


def test_released_models_stand_sorted_in_the_colour_of_what_their_tokenizer_adds(results, tmp_path, drawn):
    draw("figure_off_by_one", results, tmp_path / "x", fv=(list(MODELS), TASKS), settings={"controls": []})
    left, found = drawn[0].axes[0], read_findings(RESOURCES / FOLDER)
    shown = {(round(float(x), 4), int(y)): line.get_color() for line in left.lines for x, y in line.get_xydata()}
    for place, row in enumerate(found.recovery.itertuples()):
        assert shown[round(row.recovery, 4), place] == figure.COLOURS["one_early" if row.adds_bos else "last"]
    assert found.recovery["recovery"].is_monotonic_decreasing
    assert [tick.get_text() for tick in left.get_yticklabels()] == found.recovery["label"].tolist()
    assert {f"{found.mean(True):.2f}", f"{found.mean(False):.2f}"} <= texts(drawn[0])
