"""Figures 1, 3 and 5 against counting by hand."""

import numpy as np
import pandas as pd
import pytest
from made_study import write_readings, write_study, write_task_vectors
from pictures import assert_tidy, texts
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from views import draw, view_of

from offcourse.analysis.cells import plotted, recompute_point
from offcourse.figures import heads as figure_heads
from offcourse.figures import overview, recovery, style
from offcourse.figures.overview import Row
from offcourse.schemas.function_vectors import FV_CONTROLS
from offcourse.schemas.io import read_parquet, write_parquet

MODELS = {"a-1b": (6, 4, 1e8), "b-1b": (5, 3, 1e8), "huge-70b": (4, 4, 70e9)}
NAMES = list(MODELS)
TASKS = ["antonym", "country-capital", "french-english", "english-spanish", "spanish-english", "present-past"]
GROUPS = {
    "antonym": "linguistic",
    "present-past": "linguistic",
    "country-capital": "factual",
    "french-english": "to-english",
    "spanish-english": "to-english",
    "english-spanish": "from-english",
}
HEADS, STRENGTHS, LAYERS = (2, 16, 32, 64), (1.0, 4.0), 5
SCOPES = {"function_vectors": (NAMES, TASKS), "task_vectors": (NAMES[:2], TASKS)}
PUBLISHED = {"default_heads": "maximum", "tv_average": "mean_times_maximum", "tv_direction": "spanish_swapped"}
CORRECTED = {"default_heads": "single", "tv_average": "mean", "tv_direction": "straight"}
PAIRS = [("a-1b", "b-1b"), ("a-1b", "huge-70b")]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    results = write_study(
        tmp_path_factory.mktemp("study"), MODELS, TASKS, HEADS, STRENGTHS, trials=1, unlearnt=[("b-1b", "antonym")]
    )
    write_readings(results, NAMES)
    return write_task_vectors(results, NAMES, TASKS, LAYERS)


@pytest.fixture(scope="module")
def counted(results):
    """Accuracy of function vectors by model, task, heads, strength and layer, counted one by one; shots likewise."""
    found: dict = {}
    for model in NAMES:
        for task in TASKS:
            for row in pd.read_parquet(results / model / "fv_sweep" / f"{task}.parquet").itertuples():
                found.setdefault((model, task, row.n_heads, row.strength, row.layer), []).append(row.hit)
            for step in ("icl", "tv_icl"):
                for row in pd.read_parquet(results / model / step / f"{task}.parquet").itertuples():
                    found.setdefault((step, model, task, row.shots), []).append(row.hit)
            for row in pd.read_parquet(results / model / "tv_sweep" / f"{task}.parquet").itertuples():
                found.setdefault(("tv", row.split, model, task, row.layer), []).append(row.hit)
    return {key: sum(hits) / len(hits) for key, hits in found.items()}


def peak(counted, model, task, heads, strengths=STRENGTHS, of=max):
    """Eq. 7 with the maximum over layers, Eq. 8 with their mean."""
    layers = range(MODELS[model][0])
    few = counted["icl", model, task, 5]
    best = max(of([counted[model, task, k, s, layer] for layer in layers]) for k in heads for s in strengths)
    return best / few if few else np.nan


def resampled(rows):
    """Interval of a mean over models (rows) and tasks (columns), both drawn again and again; a missing pair is NaN."""
    random, table, means = np.random.default_rng(8), np.array(rows), []
    for _ in range(4000):
        drawn = table[random.integers(len(table), size=len(table))]
        drawn = drawn[:, random.integers(table.shape[1], size=table.shape[1])]
        if not np.isnan(drawn).all():
            means.append(np.nanmean(drawn))
    return np.quantile(means, (0.025, 0.975))


def assert_points_lead_back(results, path, column=None):
    points = pd.read_parquet(path).to_dict("records")
    for point in points:
        [name] = [column] if column else plotted(point)
        assert name in plotted(point)
        assert recompute_point(results, point, name) == pytest.approx(point[name], nan_ok=True)
    return len(points)


def test_controls_stand_beside_the_search_each_at_the_best_of_its_grid(results, counted, tmp_path, drawn):
    """Two draws of a random control and one of another, and the other read position."""
    random = np.random.default_rng(4)
    wide = NAMES[:2], TASKS[:3]
    for model in wide[0]:
        for task in wide[1]:
            sweep = pd.read_parquet(results / model / "fv_sweep" / f"{task}.parquet")
            drawn_as = [("random_heads", 0), ("random_heads", 1), ("other_task", 0)]
            # Crosses and further draws have a table of their own.
            drawn_as += [("read_position", 0), ("read_position", 1), ("read_position_heads", 0), ("rebuilt", 1)]
            parts = [sweep.assign(control=c, draw=d, hit=random.random(len(sweep)) < 0.2) for c, d in drawn_as]
            frame = pd.concat(parts)[list(FV_CONTROLS.columns)]
            write_parquet(results / model / "fv_controls" / f"{task}.parquet", frame, FV_CONTROLS)
    asked = ["random_heads", "other_task", "read_position"]
    more = {"groups": GROUPS, "settings": {"controls": asked}} | PUBLISHED
    draw("figure3", results, tmp_path / "x", fv=wide, **more)
    found = read_parquet(tmp_path / "x.parquet", recovery.NUMBERS).set_index(["method", "model", "group"])
    for model in wide[0]:
        for task in ("antonym", "country-capital"):
            frame = pd.read_parquet(results / model / "fv_controls" / f"{task}.parquet")
            settings, few = ["control", "draw", "n_heads", "strength", "layer"], counted["icl", model, task, 5]
            best = frame.groupby(settings)["hit"].mean().groupby(["control", "draw"]).max()
            nulls = best[["random_heads", "other_task"]]
            row = found.loc["controls", model, task]
            assert row["recovery"] == pytest.approx(nulls.mean() / few if few else np.nan, nan_ok=True)
            assert row["tasks"] == 1 and len(nulls) == 3
            other = best["read_position", 0] / few if few else np.nan
            assert found.loc[recovery.OTHER, model, task]["recovery"] == pytest.approx(other, nan_ok=True)
    assert_points_lead_back(results, tmp_path / "x.parquet")
    assert {"FV controls,\npeak", "FV search at the\nother position, peak"} <= texts(drawn[0])
    assert_tidy(drawn[0])


@pytest.mark.parametrize("switches", [PUBLISHED, CORRECTED], ids=["published", "corrected"])
def test_recovery_is_eq_7_and_8_averaged_over_a_group(results, counted, tmp_path, drawn, switches):
    draw("figure3", results, tmp_path / "figure3", scopes=SCOPES, groups=GROUPS, **switches)
    found = read_parquet(tmp_path / "figure3.parquet", recovery.NUMBERS)
    found = found.set_index(["model", "method", "measure", "group"])["recovery"]
    heads = {"a-1b": (2, 16), "b-1b": (2, 16), "huge-70b": (2, 64)}
    if switches is CORRECTED:
        heads = {"a-1b": (16,), "b-1b": (16,), "huge-70b": (64,)}
    to_english = ["french-english", "spanish-english"]
    for model in NAMES:
        for measure, of in (("peak", max), ("average", np.mean)):
            for method, its_heads, strengths in (
                ("FV default", heads[model], (1.0,)),
                ("FV search", HEADS, STRENGTHS),
            ):
                for group, tasks in (("country-capital", ["country-capital"]), ("to-english", to_english)):
                    values = [peak(counted, model, task, its_heads, strengths, of) for task in tasks]
                    assert found[model, method, measure, group] == pytest.approx(np.mean(values))
    assert np.isnan(found["b-1b", "FV search", "peak", "antonym"]), "no recovery of an accuracy of 0"

    to_english = ["french-english", "english-spanish" if switches is PUBLISHED else "spanish-english"]
    for model in SCOPES["task_vectors"][0]:
        few = np.mean([counted["tv_icl", model, task, 5] for task in to_english])
        layers = [np.mean([counted["tv", "dev", model, task, layer] for task in to_english]) for layer in range(LAYERS)]
        average = np.mean(layers) * (max(layers) if switches is PUBLISHED else 1) / few
        assert found[model, "TV", "peak", "to-english"] == pytest.approx(max(layers) / few)
        assert found[model, "TV", "average", "to-english"] == pytest.approx(average)
    assert ("huge-70b", "TV", "peak", "to-english") not in found.index
    assert assert_points_lead_back(results, tmp_path / "figure3.parquet") == 3 * 4 * 5 + 2 * 2 * 5
    written = texts(drawn[0])
    titles = {"FV default,\naverage over layers", "TV,\npeak", "share of few-shot accuracy"}
    assert titles | {"To English (2 tasks)", "Antonym"} <= written
    assert "items of a task behind every accuracy: FV 42 to 50, TV 20; intervals are in the tables" in written
    assert_tidy(drawn[0])


def test_recovery_of_one_method_has_its_panels_only(results, tmp_path, drawn):
    draw("figure3", results, tmp_path / "x", tv=(NAMES, TASKS), groups=GROUPS, **PUBLISHED)
    assert set(pd.read_parquet(tmp_path / "x.parquet")["method"]) == {"TV"}
    assert len(drawn[0].axes) == 2 + 1
    assert_tidy(drawn[0])


def test_recovery_by_number_of_heads_and_its_change(results, counted, tmp_path, drawn):
    draw("figure5", results, tmp_path / "figure5", fv=(NAMES, TASKS), groups=GROUPS, pairs=PAIRS)
    frame = read_parquet(tmp_path / "figure5.parquet", figure_heads.NUMBERS)
    found = frame.set_index(["group", "n_heads"])
    for group, tasks in (
        ("linguistic and factual", ["antonym", "country-capital", "present-past"]),
        ("to English", ["french-english", "spanish-english"]),
        ("from English", ["english-spanish"]),
    ):
        for k in HEADS:
            values = [peak(counted, model, task, [k]) for model in NAMES for task in tasks]
            values = [value for value in values if not np.isnan(value)]
            row = found.loc[group, k]
            assert row["recovery"] == pytest.approx(np.mean(values)) and row["n"] == len(values)
            assert min(values) <= row["ci_low"] < row["recovery"] < row["ci_high"] <= max(values)
            ends = resampled([[peak(counted, model, task, [k]) for task in tasks] for model in NAMES])
            assert (row["ci_low"], row["ci_high"]) == pytest.approx(ends, abs=0.04)
    for k in HEADS:
        changes = []
        for base, post in PAIRS:
            before, after = ([peak(counted, model, task, [k]) for task in TASKS] for model in (base, post))
            changes.append(np.nanmean(after) - np.nanmean(before))
        assert found.loc[figure_heads.CHANGE, k]["recovery"] == pytest.approx(np.mean(changes))
        row = found.loc[figure_heads.CHANGE, k]
        assert row["n"] == 2
        ends = stats.t.interval(0.95, 1, np.mean(changes), stats.sem(changes))
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(ends)
    assert assert_points_lead_back(results, tmp_path / "figure5.parquet") == 4 * len(HEADS)
    left, right = drawn[0].axes
    lines = {line.get_label(): line.get_ydata().tolist() for line in left.lines}
    names = {group: f"{group} (n = {style.span(found.loc[group]['n'])})" for group in figure_heads.GROUPS}
    assert lines == {names[group]: found.loc[group]["recovery"].tolist() for group in figure_heads.GROUPS}
    assert left.get_xlabel() == right.get_xlabel() == "number of heads (log scale)"
    [said] = [text for text in texts(drawn[0]) if "bootstrap interval" in text]
    assert said.endswith("right: mean and Student's 95% interval over 2 pairs of models")
    for panel in (left, right):
        low, high = panel.get_ylim()
        ends = [each for mark in panel.collections for path in mark.get_paths() for each in path.vertices[:, 1]]
        assert low <= min(ends) and max(ends) <= high, "every interval ends inside its panel"
    assert_tidy(drawn[0])


def test_the_group_of_a_task_moves_its_points_in_figure_5(results, tmp_path):
    for name, group in (("before", "linguistic"), ("after", "from-english")):
        draw("figure5", results, tmp_path / name, fv=(NAMES, TASKS), groups=GROUPS | {"antonym": group})
    frames = [pd.read_parquet(tmp_path / f"{name}.parquet").set_index("group")["n"] for name in ("before", "after")]
    assert frames[0]["from English"].max() < frames[1]["from English"].max()
    view = [view_of("figure_heads", results, fv=(NAMES, TASKS), groups=GROUPS | {"antonym": group}).parameters()
            for group in ("linguistic", "from-english")]  # fmt: skip
    assert view[0] != view[1]


def test_without_pairs_there_is_no_change(results, tmp_path, drawn):
    draw("figure5", results, tmp_path / "x", fv=(NAMES, TASKS[:1]), groups=GROUPS)
    assert set(pd.read_parquet(tmp_path / "x.parquet")["group"]) == {"linguistic and factual"}
    assert len(drawn[0].axes) == 1
    assert_tidy(drawn[0])


def test_no_recovery_at_all_is_said(make_study, tmp_path, drawn):
    results = make_study(models={"m": (3, 4, 1e8)}, tasks=["antonym"], unlearnt=[("m", "antonym")])
    draw("figure5", results, tmp_path / "x", fv=(["m"], ["antonym"]), groups=GROUPS)
    assert pd.read_parquet(tmp_path / "x.parquet").empty
    assert "few-shot accuracy is 0" in texts(drawn[0])


def test_the_overview_draws_each_method_at_one_setting(results, counted, tmp_path, drawn):
    draw("figure1", results, tmp_path / "figure1", lens=(NAMES, ["letters"]), scopes=SCOPES)
    frame = read_parquet(tmp_path / "figure1.parquet", overview.NUMBERS)
    assert {method: list(dict.fromkeys(mine["model"])) for method, mine in frame.groupby("method")} == {
        "logit_lens": NAMES,
        "function_vectors": NAMES,
        "task_vectors": NAMES[:2],
    }
    for (method, model, line), mine in frame.groupby(["method", "model", "line"]):
        if method == "logit_lens":
            lens = pd.read_parquet(results / model / "logit_lens" / "letters.parquet").to_dict("records")
            for row in mine.itertuples():
                values = [float(each[line]) for each in lens if each["layer"] == row.layer]
                assert row.mean == pytest.approx(sum(values) / len(values)) and row.n == 9
            continue
        assert set(mine["on"]) == {"present-past"}
        step = "icl" if method == "function_vectors" else "tv_icl"
        if line != "steered":
            shots = 0 if line == "zero_shot" else 5
            assert set(mine["mean"]) == {counted[step, model, "present-past", shots]}
        elif method == "task_vectors":
            assert list(mine["mean"]) == [counted["tv", "dev", model, "present-past", k] for k in range(LAYERS)]
        else:
            heads, strength = mine["setting"].iloc[0].replace(" heads, strength", "").split()
            at = [counted[model, "present-past", int(heads), float(strength), k] for k in range(MODELS[model][0])]
            assert list(mine["mean"]) == at
            assert max(at) == max(value for key, value in counted.items() if key[:2] == (model, "present-past"))
    assert_points_lead_back(results, tmp_path / "figure1.parquet")
    assert sum(panel.get_visible() for panel in drawn[0].axes) == 8
    assert "task vectors\naccuracy\nPresent → Past\n(20 items)" in texts(drawn[0])
    assert {"no vector, 5-shot", "bands: 95% intervals over questions or items"} <= texts(drawn[0])
    few_shot = frame[frame["line"] == "few_shot"]
    assert set(few_shot["shots"]) == {5} and set(frame.loc[frame["line"] == "steered", "shots"]) == {0}
    for row in frame[frame["method"] != "logit_lens"].itertuples():
        ends = proportion_confint(round(row.mean * row.n), row.n, method="wilson")
        assert (row.ci_low, row.ci_high) == pytest.approx(ends, abs=1e-12)
    looks = [look["color"] for _, look in [*overview.LENS.values(), *overview.VECTORS.values()]]
    assert len(set(looks)) == 6, "a colour means one thing"
    assert_tidy(drawn[0])


@pytest.mark.parametrize("models", [NAMES[:1], NAMES], ids=["one model", "three"])
@pytest.mark.parametrize("figure", ["figure2", "figure8"])
def test_lens_and_apathy_say_their_questions(results, tmp_path, drawn, figure, models):
    draw(figure, results, tmp_path / "x", lens=(models, ["letters"]), questions="letters")
    assert any(text.endswith("over 9 questions of Letters") for text in texts(drawn[0]))
    assert sum(panel.get_visible() for panel in drawn[0].axes) == len(models)
    assert_points_lead_back(results, tmp_path / "x.parquet", "mean")
    assert_tidy(drawn[0])


def test_of_many_models_those_that_differ_are_shown(results, counted, monkeypatch):
    ranked = sorted(NAMES, key=lambda model: peak(counted, model, "present-past", HEADS))
    monkeypatch.setattr(overview, "MOST", 2)
    assert overview.chosen(results, "function_vectors", Row(NAMES, TASKS)) == ranked
    # The made-up lens rises at the layer after each model's place.
    assert overview.chosen(results, "logit_lens", Row(NAMES, ["letters"])) == NAMES[::-1]


def test_the_papers_models_and_settings_come_first(make_study, tmp_path):
    paper = overview.PAPER["function_vectors"]
    names = ["other", *paper]
    results = make_study(
        models=dict.fromkeys(names, (4, 4, 1e8)), tasks=["antonym"], n_heads=(2, 16, 64), strengths=(1.0, 2.0, 16.0)
    )
    frame = overview.numbers(results, {"function_vectors": Row(names, ["antonym"])})
    settings = frame.groupby("model", sort=False)["setting"].first().to_dict()
    assert settings == {model: f"{heads} heads, strength {strength:g}" for model, (heads, strength) in paper.items()}
    assert set(frame["on"]) == {"antonym"}, "the first task of a study without the paper's"
