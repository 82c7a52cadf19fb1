"""The verdict: each word follows from its test, intervals and p-values are those of slow loops, and guards hold."""

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from views import page

from offcourse.analysis import inference, verdicts
from offcourse.analysis.selection import repetitions
from offcourse.analysis.verdicts import (
    HARMS,
    MARGIN,
    NO_BETTER_THAN_LUCK,
    NO_BETTER_THAN_PROMPTING,
    PERPLEXITY,
    UNSURE,
    VERDICTS,
    WORDS,
    WORKS,
    verdict,
)
from offcourse.data.draws import keyed_generator
from offcourse.errors import OffcourseError
from offcourse.schemas.function_vectors import (
    ICL,
    NEUTRAL,
    SIDE_EFFECTS,
    STEERING_CONTROLS,
    STEERING_DRAWS,
    STEERING_PRECISIONS,
    STEERING_SWEEP,
)
from offcourse.schemas.io import as_table, read_parquet, write_parquet
from offcourse.tables.verdicts import notes, texts

MODEL, TASKS, ITEMS, PASSAGES = "m", ("one", "two"), 40, 30
# What sets each kind of result apart: (hits with the method, with a control, with prompting, loss in nats per token).
BASE, STRONG, MIDDLE = 0.05, 0.95, 0.5
KINDS = {
    WORKS: (STRONG, BASE, MIDDLE, 0.0),
    HARMS: (STRONG, BASE, MIDDLE, 0.6),
    NO_BETTER_THAN_PROMPTING: (STRONG, BASE, 1.0, 0.0),
    NO_BETTER_THAN_LUCK: (STRONG, 1.0, MIDDLE, 0.0),
    UNSURE: (0.15, BASE, BASE, 0.0),
}


def hits(share: float, unit: int) -> np.ndarray:
    """[ITEMS] hits of a share, in an order of their own."""
    wanted = np.arange(ITEMS) < round(share * ITEMS)
    return wanted[np.random.default_rng(unit).permutation(ITEMS)]


def write_results(root, kind, controls=True, draws=True, name="caa"):
    """A study of one model and two tasks whose results are of one kind; settings other than the best hit less."""
    method, control, prompting, loss = KINDS[kind]
    folder = root / MODEL
    folder.mkdir(parents=True)
    (folder / "model.json").write_text('{"layers": 3}')
    for number, task in enumerate(TASKS):
        seeds = np.random.default_rng(number)

        def sweep(best, strengths, seeds=seeds, **first):
            rows = [
                (*first.values(), strength, layer, item, bool(hit))
                for strength in strengths
                for layer in range(3)
                for item, hit in enumerate(
                    hits(best if (layer, strength) == (1, strengths[0]) else BASE, seeds.integers(99))
                )
            ]
            return rows

        icl = [
            (shots, item, bool(hit))
            for shots in (0, 5)
            for item, hit in enumerate(hits(prompting if shots else BASE, 7 + shots + number))
        ]
        write_parquet(folder / "icl" / f"{task}.parquet", as_table(icl, ICL), ICL)
        table = as_table(sweep(method, (1.0, 4.0)), STEERING_SWEEP)
        write_parquet(folder / f"{name}_sweep" / f"{task}.parquet", table, STEERING_SWEEP)
        if controls:
            rows = [
                row for what in ("random_direction", "sign_flipped") for row in sweep(control, (1.0, 4.0), control=what)
            ]
            path = folder / f"{name}_controls" / f"{task}.parquet"
            write_parquet(path, as_table(rows, STEERING_CONTROLS), STEERING_CONTROLS)
        aside = [
            (1.0, 1, NEUTRAL, item, 20 + item, -60.0 - item, -60.0 - item - loss * (20 + item), 0.1 * item)
            for item in range(PASSAGES)
        ]
        [other] = [each for each in TASKS if each != task]
        aside += [(1.0, 1, other, item, 1, float(item < 30), float(item < 28), np.nan) for item in range(ITEMS)]
        path = folder / f"{name}_side_effects" / f"{task}.parquet"
        write_parquet(path, as_table(aside, SIDE_EFFECTS), SIDE_EFFECTS)
        if draws:
            rows = [
                (draw, 1.0, 1, item, item < 20 + draw, (0.5, 0.7, 0.6)[draw])
                for draw in range(3)
                for item in range(ITEMS)
            ]
            path = folder / f"{name}_draws" / f"{task}.parquet"
            write_parquet(path, as_table(rows, STEERING_DRAWS), STEERING_DRAWS)
    return root


def test_precisions_are_compared_item_by_item_and_printed_with_the_study_s_own_first(tmp_path):
    root = write_results(tmp_path, WORKS)
    # Hits of each precision on the first task: 20 items, other 21 of which 18 are the same, and 19 of the 20.
    hit = {
        "bfloat16": set(range(20)),
        "float32": {*range(18), 30, 31, 32},
        "float16": set(range(19)),
    }
    alike = {"bfloat16": 1.0, "float32": 0.98, "float16": 0.99}
    rows = [(name, 1.0, 1, item, item in hit[name], alike[name]) for name in hit for item in range(ITEMS)]
    path = root / MODEL / "caa_precisions" / "one.parquet"
    write_parquet(path, as_table(rows, STEERING_PRECISIONS), STEERING_PRECISIONS)
    frame = judged(root).set_index("task")
    row, without = frame.loc["one"], frame.loc["two"]
    assert row["precision"] == "bfloat16" and row["precision_cosine"] == 0.98
    assert {name: row[name] for name in hit} == {name: len(mine) / ITEMS for name, mine in hit.items()}
    differ = [item for item in range(ITEMS) if len({item in mine for mine in hit.values()}) > 1]
    assert row["precision_flips"] == len(differ) / ITEMS == 5 / ITEMS
    assert without["precision"] == "" and without[["float32", "bfloat16", "precision_flips"]].isna().all()
    shown = texts(frame.reset_index())
    assert shown["precisions"].tolist() == ["bfloat16 50%, float32 52%, float16 48%", ""]
    assert shown["flips between precisions"].tolist() == ["12%", ""]
    assert shown["cosine between precisions"].tolist() == ["0.9800", ""]
    assert any(note.startswith("Precisions:") for note in notes(frame, prompting=False))
    alone = frame.loc[["two"]].reset_index()
    assert "precisions" not in texts(alone) and not any("Precisions:" in note for note in notes(alone, False))


def with_one_layer(root) -> None:
    """Leave of each sweep what a method gives that steers all layers at once: one layer, 0."""
    for path in (root / MODEL / "caa_sweep").glob("*.parquet"):
        sweep = read_parquet(path, STEERING_SWEEP)
        write_parquet(path, sweep[sweep["layer"] == 1].assign(layer=0), STEERING_SWEEP)
    for path in (root / MODEL / "caa_side_effects").glob("*.parquet"):
        write_parquet(path, read_parquet(path, SIDE_EFFECTS).assign(layer=0), SIDE_EFFECTS)


def test_a_layer_is_named_only_where_layers_are_steered_one_after_the_other(tmp_path):
    root = write_results(tmp_path, WORKS, controls=False, draws=False)
    assert set(texts(judged(root))["setting"]) == {"strength 1, layer 1 (3 swept)"}
    with_one_layer(root)
    assert set(texts(judged(root))["setting"]) == {"strength 1"}


@pytest.mark.parametrize(("alone", "axis"), [(False, "steered layer"), (True, "strength")])
def test_accuracy_is_drawn_against_the_layer_or_where_none_is_swept_the_strength(tmp_path, alone, axis):
    root = write_results(tmp_path, WORKS, controls=False, draws=False)
    if alone:
        with_one_layer(root)
    shown = page("figure_caa", root, MODEL, scopes={"caa": ([MODEL], list(TASKS))}, labels={"caa": "CAA"})
    figure = Figure(layout="constrained")
    shown.compose(figure)
    figure.draw_without_rendering()
    panel = figure.axes[0]
    assert panel.get_xlabel() == axis
    lines = [line.get_xdata() for line in panel.lines if len(line.get_xdata()) == (2 if alone else 3)]
    assert {tuple(map(float, line)) for line in lines} >= {(1.0, 4.0) if alone else (0.0, 1.0, 2.0)}
    if alone:
        assert [label.get_text() for label in panel.get_xticklabels()] == ["1", "4"]


def judged(root, name="caa", tasks=TASKS) -> pd.DataFrame:
    return verdicts.verdicts(root, {name: ([MODEL], list(tasks))}, {name: name.upper()})


@pytest.mark.parametrize("kind", WORDS)
def test_each_word_is_said_of_the_results_that_it_is_about(kind, tmp_path):
    frame = judged(write_results(tmp_path, kind))
    assert frame["verdict"].tolist() == [kind] * len(TASKS)


@pytest.mark.parametrize("kind", [WORKS, UNSURE])
def test_without_controls_the_largest_gain_of_the_grid_is_tested(kind, tmp_path):
    frame = judged(write_results(tmp_path, kind, controls=False, draws=False))
    assert frame["verdict"].tolist() == [kind] * len(TASKS)
    assert frame["control"].isna().all() and frame["spread"].isna().all() and (frame["draws"] == 1).all()
    for row in frame.itertuples():
        assert (row.over_luck, row.over_luck_low) == (row.gain, row.gain_low)
        sweep = pd.read_parquet(tmp_path / MODEL / "caa_sweep" / f"{row.task}.parquet")
        icl = pd.read_parquet(tmp_path / MODEL / "icl" / f"{row.task}.parquet")
        base = icl[icl["shots"] == 0].sort_values("item")["hit"].to_numpy()
        grid = np.stack([mine.sort_values("item")["hit"] for _, mine in sweep.groupby(["strength", "layer"])])
        assert row.p_luck == inference.largest_by_swapping(base, grid, row.task).p


def test_numbers_are_those_of_slow_loops(tmp_path):
    frame = judged(write_results(tmp_path, WORKS)).set_index("task")
    row, sweep = frame.loc["one"], pd.read_parquet(tmp_path / MODEL / "caa_sweep" / "one.parquet")
    hit = {(each.strength, each.layer, each.item): each.hit for each in sweep.itertuples()}
    settings = sorted({setting[:2] for setting in hit})
    # Every halving, both directions: chosen on one half, the first of equally good ones, and reported on the other.
    seen = [[] for _ in range(ITEMS)]
    for directions in repetitions("halves", "one", ITEMS):
        for chosen_on, reported_on in directions:
            best, most = None, -1
            for setting in settings:
                count = sum(hit[*setting, item] for item in range(ITEMS) if chosen_on[item])
                if count > most:
                    best, most = setting, count
            for item in range(ITEMS):
                if reported_on[item]:
                    seen[item].append(hit[*best, item])
    steered = [sum(each) / len(each) for each in seen]
    assert {len(each) for each in seen} == {20}
    assert row["steered"] == pytest.approx(sum(steered) / ITEMS)
    icl = pd.read_parquet(tmp_path / MODEL / "icl" / "one.parquet").set_index(["shots", "item"])["hit"]
    gains = [steered[item] - icl[0, item] for item in range(ITEMS)]
    assert row["gain"] == pytest.approx(sum(gains) / ITEMS)
    # The bootstrap, resample by resample.
    places = keyed_generator(0, "one", "bootstrap over items", ITEMS).integers(ITEMS, size=(10_000, ITEMS))
    means = sorted(sum(gains[place] for place in drawn) / ITEMS for drawn in places.tolist())
    low, high = np.quantile(means, (0.025, 0.975))
    # Of items that are all alike, z^2 / (n + z^2) may be otherwise.
    least = 1.959964**2 / (ITEMS + 1.959964**2)
    expected = (min(low, row["gain"] - least), min(1.0, max(high, row["gain"] + least)))
    assert (row["gain_low"], row["gain_high"]) == pytest.approx(expected)
    assert row["perplexity_ratio"] == pytest.approx(1.0)
    assert row["divergence"] == pytest.approx(sum(0.1 * item for item in range(PASSAGES)) / PASSAGES)
    assert row["elsewhere"] == pytest.approx(-2 / ITEMS) and row["broken_elsewhere"] == pytest.approx(2 / 30)
    best = [item for item in range(ITEMS) if icl[0, item]]
    assert row["broken"] == pytest.approx(sum(not hit[1.0, 1, item] for item in best) / len(best))
    assert (row["draws"], row["cosine"]) == (3, pytest.approx(0.6))
    assert row["spread"] == pytest.approx(2 / ITEMS) and row["flips"] == pytest.approx(2 / ITEMS)


def test_the_ratio_of_perplexities_is_that_of_all_tokens():
    random = np.random.default_rng(2)
    lost, tokens = random.normal(0.5, 5, 12), random.integers(10, 60, 12)
    table = pd.DataFrame({"unsteered": 0.0, "steered": -lost, "tokens": tokens})
    found = verdicts.perplexity_ratio(table)
    assert found.value == pytest.approx(math.exp(sum(lost) / sum(tokens)))
    places = keyed_generator(0, NEUTRAL, "bootstrap over items", 12).integers(12, size=(10_000, 12)).tolist()
    slow = [math.exp(sum(lost[at] for at in drawn) / sum(tokens[at] for at in drawn)) for drawn in places]
    assert found.low < found.value < found.high
    assert np.log(found[1:]) == pytest.approx(np.quantile(np.log(slow), (0.025, 0.975)))


def test_a_text_made_all_but_impossible_has_a_ratio_with_ends():
    table = pd.DataFrame({"unsteered": -20.0, "steered": [-3e38, -20.0, -21.0, -2e4], "tokens": 10})
    found = verdicts.perplexity_ratio(table)
    assert all(map(math.isfinite, found)) and 1 < found.low <= found.value == found.high == pytest.approx(math.exp(700))


def test_the_p_value_of_pairs_counts_random_signs():
    differences = np.array([0.5, 0.25, -0.25, 1.0, 0.0, 0.75])
    generator = keyed_generator(0, "u", "signs", 6)
    signs = generator.choice((-1.0, 1.0), size=(10_000, 6)).tolist()
    total = sum(differences)
    reached = sum(sum(s * d for s, d in zip(each, differences, strict=True)) >= total - 1e-9 for each in signs)
    assert inference.above_zero(differences, "u") == (1 + reached) / 10_001
    # Exactly: of 64 choices of signs, those that reach the sum.
    exact = sum(
        sum((1 if code >> place & 1 else -1) * d for place, d in enumerate(differences)) >= total - 1e-9
        for code in range(64)
    )
    assert inference.above_zero(differences, "u") == pytest.approx(exact / 64, abs=0.02)


def made(**changes) -> dict:
    """A row of a method that works, with some numbers changed; slightly beyond or within each limit."""
    row = {"gain": 0.5, "gain_low": 0.3, "gain_high": 0.6, "over_luck": 0.5, "over_luck_low": 0.3}
    row |= {"over_luck_high": 0.6, "p_luck_holm": 0.001, "over_prompting": 0.3, "over_prompting_high": 0.4}
    row |= {"p_prompting_holm": 0.001, "perplexity_ratio_low": 1.0, "elsewhere_high": 0.05}
    return row | changes


JUST = 1e-6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, WORKS),
        ({"over_luck_high": MARGIN - JUST}, NO_BETTER_THAN_LUCK),
        ({"over_luck_high": MARGIN, "p_luck_holm": 0.2}, UNSURE),
        ({"gain": 0.0, "gain_low": -0.1, "gain_high": MARGIN - JUST}, NO_BETTER_THAN_LUCK),
        ({"gain": 0.0, "gain_low": -0.1, "gain_high": MARGIN}, UNSURE),
        ({"p_luck_holm": 0.05}, UNSURE),
        ({"gain_low": 0.0}, UNSURE),
        ({"over_prompting_high": MARGIN - JUST}, NO_BETTER_THAN_PROMPTING),
        ({"over_prompting": -0.01, "over_prompting_high": MARGIN}, UNSURE),
        ({"p_prompting_holm": 0.05}, UNSURE),
        ({"over_prompting": math.nan, "over_prompting_high": math.nan, "p_prompting_holm": math.nan}, WORKS),
        ({"perplexity_ratio_low": PERPLEXITY + JUST}, HARMS),
        ({"perplexity_ratio_low": PERPLEXITY}, WORKS),
        ({"perplexity_ratio_low": math.nan}, HARMS),
        ({"elsewhere_high": -MARGIN - JUST}, HARMS),
        ({"elsewhere_high": math.nan}, WORKS),
        ({"perplexity_ratio_low": 9.0, "p_luck_holm": 0.2}, UNSURE),
    ],
)
def test_the_decision_turns_at_its_limits(changes, said):
    assert verdict(made(**changes)) == said


def test_p_values_are_corrected_over_the_rows_of_a_method(tmp_path):
    frame = judged(write_results(tmp_path, UNSURE))
    low, high = sorted(frame["p_luck"])
    assert sorted(frame["p_luck_holm"]) == pytest.approx(sorted([min(1, 2 * low), max(min(1, 2 * low), high)]))
    assert frame["p_luck"].max() > 0.0001


def test_prompting_itself_is_not_held_against_prompting(tmp_path):
    frame = judged(write_results(tmp_path, WORKS, controls=False, draws=False, name="prompting"), "prompting")
    assert frame["over_prompting"].isna().all() and frame["p_prompting_holm"].isna().all()
    assert set(frame["verdict"]) == {WORKS} and list(frame.columns) == list(VERDICTS.columns)


def test_other_items_than_those_of_the_sweep_are_refused(tmp_path):
    root = write_results(tmp_path, WORKS)
    path = root / MODEL / "caa_controls" / "one.parquet"
    table = pd.read_parquet(path)
    write_parquet(path, table[table["item"] > 0], STEERING_CONTROLS)
    with pytest.raises(OffcourseError, match=r"caa_controls/one.parquet has other items than the sweep"):
        judged(root)
    path = root / MODEL / "icl" / "one.parquet"
    table = pd.read_parquet(path)
    write_parquet(path, table[table["item"] > 0], ICL)
    with pytest.raises(OffcourseError, match=r"icl/one.parquet has other items than the sweeps"):
        judged(root)
