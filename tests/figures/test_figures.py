"""Each figure draws the right numbers (against slow recomputation), and its bytes never change."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from matplotlib.colors import to_rgb
from pictures import assert_tidy, texts
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from views import draw

from offcourse.analysis import choices
from offcourse.analysis.cells import recompute_point
from offcourse.figures import choices as figure_choices
from offcourse.figures import style
from offcourse.figures import sweep as figure_sweep
from offcourse.schemas.function_vectors import CONTROLS, FV_CONTROLS
from offcourse.schemas.io import columns, write_parquet

MODELS = ["tiny-0.1b", "middle-27b"]
TASKS = ["antonym", "country-capital"]
DRAW = {
    "figure17": {"model": "tiny-0.1b", "task": "country-capital"},
    "figure9": {"model": "tiny-0.1b"},
    "figure11": {},
    "figure13": {},
    "figure14": {},
    "figure15": {},
}

# The study with controls.
CONTROLLED = {
    "model": "m",
    "task": "antonym",
    "fv": (["m"], ["antonym"]),
    "settings": {"controls": list(CONTROLS)},
}


@pytest.mark.parametrize("name", DRAW)
def test_twice_the_same_bytes_in_three_files(study, tmp_path, drawn, name):
    """A dot in the model's name survives, and nothing in the picture covers anything else."""
    for run in ("a", "b"):
        draw(name, study, tmp_path / run / "tiny-0.1b_x", fv=(MODELS, TASKS), **DRAW[name])
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["tiny-0.1b_x.parquet", "tiny-0.1b_x.png", "tiny-0.1b_x.svg"]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert_tidy(drawn[0])


def test_sweep_lines_are_the_numbers(study, share, tmp_path, drawn):
    draw("figure17", study, tmp_path / "x", fv=(MODELS, TASKS), **DRAW["figure17"])
    numbers = pd.read_parquet(tmp_path / "x.parquet")
    path = "tiny-0.1b/fv_sweep/country-capital.parquet"
    assert len(numbers) == 3 * 3 * 6
    for row in numbers.itertuples():
        assert row.accuracy == share(study, path, n_heads=row.n_heads, strength=row.strength, layer=row.layer)
    assert set(numbers["n"]) == {42}
    assert set(numbers["few_shot"]) == {share(study, "tiny-0.1b/icl/country-capital.parquet", shots=5)}
    assert set(numbers["zero_shot"]) == {share(study, "tiny-0.1b/icl/country-capital.parquet", shots=0)}
    panels = drawn[0].axes
    for panel, (_, setting) in zip(panels, numbers.groupby(["strength", "n_heads"]), strict=True):
        few, zero, line = panel.lines[:3]
        assert line.get_ydata().tolist() == setting["accuracy"].tolist()
        assert (few.get_ydata()[0], zero.get_ydata()[0]) == (setting["few_shot"].iloc[0], setting["zero_shot"].iloc[0])
    assert {"Tiny 0.1b: Country → Capital", "accuracy (share of 42 items)", "no vector, 5-shot"} <= texts(drawn[0])


@pytest.fixture
def controlled(make_study):
    """A study with one control that is drawn twice and one that is not."""
    results = make_study(models={"m": (5, 4, 1e8)}, tasks=["antonym"], n_heads=(2, 16), strengths=(1.0, 4.0))
    random, parts = np.random.default_rng(5), []
    sweep = pd.read_parquet(results / "m" / "fv_sweep" / "antonym.parquet")
    for control, number, skill in (("random_heads", 0, 0.1), ("random_heads", 1, 0.2), ("other_task", 0, 0.05)):
        parts.append(sweep.assign(control=control, draw=number, hit=random.random(len(sweep)) < skill))
    frame = pd.concat(parts)[list(FV_CONTROLS.columns)]
    write_parquet(results / "m" / "fv_controls" / "antonym.parquet", frame, FV_CONTROLS)
    return results


def test_controls_are_grey_lines_with_the_best_of_their_grid(controlled, tmp_path, drawn):
    draw("figure17", controlled, tmp_path / "x", **CONTROLLED)
    numbers = pd.read_parquet(tmp_path / "x.parquet")
    hits = pd.read_parquet(controlled / "m" / "fv_controls" / "antonym.parquet").to_dict("records")
    seen = {}
    for row in hits:
        key = tuple(row[name] for name in ("control", "draw", "n_heads", "strength", "layer"))
        seen.setdefault(key, []).append(row["hit"])
    of_controls = numbers[numbers["control"] != ""]
    assert len(of_controls) == len(seen) == 3 * 2 * 2 * 5
    largest = {}
    for row in of_controls.itertuples():
        own = seen[row.control, row.draw, row.n_heads, row.strength, row.layer]
        assert row.accuracy == sum(own) / len(own) == recompute_point(controlled, row._asdict(), "accuracy")
        largest[row.control, row.draw] = max(largest.get((row.control, row.draw), 0), row.accuracy)
    of_random = (largest["random_heads", 0] + largest["random_heads", 1]) / 2
    of_vector = numbers.loc[numbers["control"] == "", "accuracy"].max()
    assert (
        f"best of the grid: function vector {of_vector:.2f}, random heads {of_random:.2f}, "
        f"other task {largest['other_task', 0]:.2f}"
    ) in texts(drawn[0])
    assert "controls" in texts(drawn[0])
    for panel, (_, setting) in zip(drawn[0].axes, numbers.groupby(["strength", "n_heads"]), strict=True):
        lines = [line.get_ydata().tolist() for line in panel.lines if len(line.get_xdata()) == 5]
        by_vector = setting.groupby(["control", "draw"], sort=False)["accuracy"].apply(list)
        assert lines == [*by_vector.iloc[1:], by_vector.iloc[0]], "the vector's line is on top"
    assert_tidy(drawn[0])


def test_the_vector_read_at_the_other_position_is_a_dashed_line(controlled, tmp_path, drawn):
    path = controlled / "m" / "fv_controls" / "antonym.parquet"
    frame = pd.read_parquet(path)
    frame = frame[frame["control"] == "other_task"].assign(control="read_position")
    write_parquet(path, frame, FV_CONTROLS)
    draw("figure17", controlled, tmp_path / "x", **CONTROLLED)
    numbers = pd.read_parquet(tmp_path / "x.parquet")
    other = numbers[numbers["control"] == "read_position"]
    said = texts(drawn[0])
    assert "other read position" in said and "controls" not in said
    assert any(text.endswith(f"other read position {other['accuracy'].max():.2f}") for text in said)
    for panel, (_, setting) in zip(drawn[0].axes, other.groupby(["strength", "n_heads"]), strict=True):
        same = [line for line in panel.lines if line.get_color() == figure_sweep.OTHER["color"]]
        [line] = [line for line in same if len(line.get_xdata())]  # the legend's have no points
        assert line.get_ydata().tolist() == setting["accuracy"].tolist() and line.get_linestyle() == "--"
    assert_tidy(drawn[0])


def test_a_small_page_has_room_for_every_control(controlled, tmp_path, drawn):
    path = controlled / "m" / "fv_controls" / "antonym.parquet"
    one = pd.read_parquet(path).query("control == 'other_task'")
    write_parquet(path, pd.concat([one.assign(control=name) for name in CONTROLS]), FV_CONTROLS)
    draw("figure17", controlled, tmp_path / "x", **CONTROLLED)
    [said] = [text for text in texts(drawn[0]) if text.startswith("best of the grid")]
    assert all(name.replace("_", " ") in said.replace("\n", " ") for name in CONTROLS[:4])
    assert_tidy(drawn[0])


def test_crosses_and_further_draws_are_not_on_the_page(controlled, tmp_path, drawn):
    path = controlled / "m" / "fv_controls" / "antonym.parquet"
    one = pd.read_parquet(path).query("control == 'other_task'")
    kinds = ("read_position_heads", 0), ("read_position_means", 0), ("rebuilt", 1), ("read_position", 1)
    frame = pd.concat([one.assign(control=control, draw=draw) for control, draw in kinds])
    write_parquet(path, frame, FV_CONTROLS)
    draw("figure17", controlled, tmp_path / "x", **CONTROLLED)
    assert set(pd.read_parquet(tmp_path / "x.parquet")["control"]) == {""}
    assert not texts(drawn[0]) & {"controls", "other read position"}


def test_a_page_without_controls_has_none(study, tmp_path, drawn):
    draw("figure17", study, tmp_path / "x", fv=(MODELS, TASKS), **DRAW["figure17"])
    assert set(pd.read_parquet(tmp_path / "x.parquet")["control"]) == {""}
    assert not [text for text in texts(drawn[0]) if text.startswith("best of the grid") or text == "controls"]


def test_a_setting_that_was_not_run_says_so(make_study, tmp_path, drawn):
    results = make_study(models={"m": (3, 4, 1e8)}, tasks=["antonym"], n_heads=(2, 16), strengths=(1.0, 4.0))
    path = results / "m" / "fv_sweep" / "antonym.parquet"
    sweep = pd.read_parquet(path)
    sweep[(sweep["n_heads"] == 2) | (sweep["strength"] == 1)].to_parquet(path)
    draw("figure17", results, tmp_path / "x", **{**CONTROLLED, "settings": {}})
    assert [len(panel.texts) for panel in drawn[0].axes] == [0, 0, 0, 1]


def test_cie_panels_are_the_means_on_one_scale(study, tmp_path, drawn):
    draw("figure9", study, tmp_path / "x", model="middle-27b", fv=(MODELS, TASKS))
    numbers = pd.read_parquet(tmp_path / "x.parquet")
    *panels, bar = drawn[0].axes
    meshes = [panel.collections[0] for panel in panels]
    largest = numbers["effect"].abs().max()
    for task, mesh in zip(TASKS, meshes, strict=True):
        effects = pd.read_parquet(study / "middle-27b" / "cie" / f"{task}.parquet").to_dict("records")
        array = mesh.get_array()
        assert array.shape == (3, 8)
        for head, layer in np.ndindex(array.shape):
            trials = [float(row["effect"]) for row in effects if (row["layer"], row["head"]) == (layer, head)]
            assert array[head, layer] == pytest.approx(sum(trials) / 5, abs=1e-9)
        of_task = numbers[numbers["task"] == task].pivot(index="head", columns="layer", values="effect")
        assert (of_task.to_numpy() == array).all()
        assert mesh.get_clim() == (-largest, largest) and mesh.norm.linthresh <= largest / 100
    assert set(numbers["trials"]) == {5}
    assert bar.get_ylabel().startswith("change in probability")
    # Head 0 is at the bottom.
    assert panels[0].get_ylim() == (0, 3)
    assert_tidy(drawn[0])


def test_shots_are_means_over_tasks_with_their_interval(study, share, tmp_path, drawn):
    tasks = ["antonym", "country-capital", "english-french"]
    draw("figure11", study, tmp_path / "x", fv=(MODELS, tasks))
    numbers = pd.read_parquet(tmp_path / "x.parquet")
    assert numbers[["model", "shots"]].apply(tuple, axis=1).tolist() == [(m, k) for m in MODELS for k in (0, 5, 10)]
    for row in numbers.itertuples():
        values = [share(study, f"{row.model}/icl/{task}.parquet", shots=row.shots) for task in tasks]
        mean = np.mean(values)
        odds, spread = np.log(mean / (1 - mean)), stats.sem(values) / (mean * (1 - mean))
        low, high = 1 / (1 + np.exp(-np.array(stats.t.interval(0.95, 2, loc=odds, scale=spread))))
        assert row.accuracy == pytest.approx(mean) and row.n == 42
        assert (row.ci_low, row.ci_high) == pytest.approx((low, high))
        assert 0 < row.ci_low < row.ci_high < 1
    lines = [line for line in drawn[0].axes[0].lines if line.get_label().endswith("-shot")]
    for shots, line in zip((0, 5, 10), lines, strict=True):
        assert line.get_xdata().tolist() == numbers.loc[numbers["shots"] == shots, "accuracy"].tolist()
    said = {"accuracy without steering", "mean and 95% interval over 3 tasks, at least 42 items a task"}
    assert said <= texts(drawn[0])


def test_fewer_shots_are_shown_and_said(make_study, tmp_path, drawn):
    results = make_study(models={"m": (3, 4, 1e8)}, tasks=["antonym"], shots=7)
    draw("figure11", results, tmp_path / "x", fv=(["m"], ["antonym"]))
    numbers = pd.read_parquet(tmp_path / "x.parquet")
    assert numbers["shots"].tolist() == [0, 5, 7]
    assert numbers["ci_low"].isna().all()
    assert "one task, 50 items; at most 7 shots here" in texts(drawn[0])


@pytest.mark.parametrize(
    ("what", "column", "form"),
    [("n_heads", "n_heads", "g"), ("strength", "strength", "g"), ("layer", "layer_percent", ".0f")],
)
def test_choices_are_written_in_their_cells(make_study, tmp_path, drawn, what, column, form):
    models = {"m-0.1b": (4, 4, 1e8), "n": (5, 4, 1e8)}
    results = make_study(models=models, tasks=TASKS, unlearnt=[("n", "antonym")])
    [figure] = [name for name, its in figure_choices.FIGURES.items() if its == what]
    draw(figure, results, tmp_path / "x", fv=(list(models), TASKS))
    best = choices.best(results, list(models), TASKS)
    numbers = pd.read_parquet(tmp_path / "x.parquet")
    pd.testing.assert_series_equal(numbers["value"], best[column], check_names=False)
    written = [text.get_text() for text in drawn[0].axes[0].texts]
    ties = ["*" if tied > 1 else "" for tied in best[f"{what}_tied"]]
    expected = [format(value, form) + tie for value, tie in zip(best[column], ties, strict=True)]
    assert written == ["–" if text == "nan" else text for text in expected]
    assert written[2] == "–" and numbers["tied"].tolist() == best[f"{what}_tied"].tolist()
    assert any("every accuracy from 42 to 50 items; – at most 20% recovered" in text for text in texts(drawn[0]))
    assert_tidy(drawn[0])


def test_a_tie_is_marked(make_study, tmp_path, drawn):
    """Two strengths with the same hits: the smaller is written, and said to be one of two."""
    results = make_study(models={"m": (4, 4, 1e8)}, tasks=["antonym"], n_heads=(2,), strengths=(1.0, 2.0))
    path = results / "m" / "fv_sweep" / "antonym.parquet"
    sweep = pd.read_parquet(path)
    one = sweep[sweep["strength"] == 1.0].assign(hit=lambda rows: rows["layer"] == 2)
    pd.concat([one, one.assign(strength=2.0)])[sweep.columns].to_parquet(path)
    draw("figure14", results, tmp_path / "x", fv=(["m"], ["antonym"]))
    numbers = pd.read_parquet(tmp_path / "x.parquet")
    assert (numbers["value"].tolist(), numbers["tied"].tolist()) == ([1.0], [2])
    assert {"1*"} <= texts(drawn[0])
    assert any("* a tie: the strength is the least of several" in text for text in texts(drawn[0]))
    draw("figure15", results, tmp_path / "y", fv=(["m"], ["antonym"]))
    assert pd.read_parquet(tmp_path / "y.parquet")["tied"].tolist() == [1]
    assert not any("a tie" in text for text in texts(drawn[1]))


def test_a_page_on_which_nothing_happens_is_one_panel_that_says_so(make_study, share, tmp_path, drawn):
    """All settings stay within the interval of 0-shot accuracy, then one leaves it."""
    results = make_study(models={"m": (5, 4, 1e8)}, tasks=["antonym"], n_heads=(2, 16), strengths=(1.0, 4.0))
    path = results / "m" / "fv_sweep" / "antonym.parquet"
    zero = share(results, "m/icl/antonym.parquet", shots=0)
    low, high = proportion_confint(round(zero * 50), 50, method="wilson")
    sweep = pd.read_parquet(path).assign(hit=lambda rows: rows["item"] < round(zero * 50))
    sweep.to_parquet(path)
    draw("figure17", results, tmp_path / "x", **{**CONTROLLED, "settings": {}})
    numbers = pd.read_parquet(tmp_path / "x.parquet")
    assert len(numbers) == 2 * 2 * 5, "all numbers are beside the picture"
    assert (numbers["zero_low"].iloc[0], numbers["zero_high"].iloc[0]) == pytest.approx((low, high))
    assert figure_sweep.flat(numbers).startswith("flat: none of 4 settings leaves the 95% interval of 0-shot accuracy")
    [panel] = drawn[0].axes
    assert sum(len(line.get_xdata()) == 5 for line in panel.lines) == 4
    assert panel.get_title().replace("\n", " ") == figure_sweep.flat(numbers)
    assert_tidy(drawn[0])
    one = (sweep["n_heads"] == 16) & (sweep["strength"] == 4.0) & (sweep["layer"] == 3)
    sweep.assign(hit=sweep["hit"] | (one & (sweep["item"] <= high * 50))).to_parquet(path)
    draw("figure17", results, tmp_path / "y", **{**CONTROLLED, "settings": {}})
    assert figure_sweep.flat(pd.read_parquet(tmp_path / "y.parquet")) == "" and len(drawn[1].axes) == 4


def test_the_band_is_the_interval_of_accuracy_without_a_vector(study, tmp_path, drawn):
    draw("figure17", study, tmp_path / "x", fv=(MODELS, TASKS), **DRAW["figure17"])
    numbers = pd.read_parquet(tmp_path / "x.parquet")
    hits = round(numbers["zero_shot"].iloc[0] * 42)
    ends = proportion_confint(hits, 42, method="wilson")
    for panel in drawn[0].axes:
        [band] = panel.patches
        assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx(ends)
    assert "95% interval of 0-shot" in texts(drawn[0])


def test_the_users_own_look_is_as_before_after_a_figure():
    before = dict(mpl.rcParams)
    with style.applied():
        assert mpl.rcParams["axes.spines.top"] is False and mpl.rcParams["axes.grid"] is True
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("points", [7, 7.5, 8, 8.5])
def test_a_long_label_is_whole_in_the_picture(tmp_path, points):
    """Letters are not twice as wide at twice the resolution; the picture has a margin all the same."""

    def compose(canvas):
        canvas.subplots().set_yticks([0.5], ["SmolLM2 135M Instruct" * 3], fontsize=points)

    page = style.Page((6, 2), pd.DataFrame({"row": ["x"]}), columns(row=pa.Column(str)), compose)
    style.draw(page, tmp_path / "page")
    ink = plt.imread(tmp_path / "page.png")[..., :3].min(axis=2) < 0.8
    assert ink.any() and not any(edge.any() for edge in (ink[:, :3], ink[:, -3:], ink[:3], ink[-3:]))


def test_ink_stands_out():
    assert (style.ink_on((1, 1, 0.9)), style.ink_on((0.03, 0.11, 0.35))) == ("black", "white")
    for share in np.linspace(0, 1, 101):
        colour = style.SHADES(share)
        assert style.contrast(colour, to_rgb(style.ink_on(colour))) >= 4.5


def test_lines_stand_out_from_the_paper():
    """3 to 1 is what WCAG 2.1 asks of graphics."""
    looks = (figure_sweep.CONTROL, style.FEW_SHOT, style.ZERO_SHOT)
    colours = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.INK, style.GREY)
    for colour in (*colours, *(look["color"] for look in looks)):
        assert style.contrast(to_rgb(colour), (1, 1, 1)) >= 3
    assert style.contrast((1, 1, 1), (0, 0, 0)) == pytest.approx(21)
