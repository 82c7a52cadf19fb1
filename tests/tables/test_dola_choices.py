"""The best setting of DoLa in Tables 1, 2 and 6 to 10: how it is chosen, tested and reported."""

import re
import statistics

import numpy as np
import pandas as pd
import pytest
from made_dola import ALPHAS, BUCKETS, MODELS, SETS, SETTINGS, best_setting, cells_of, hits, mc1
from statsmodels.stats.contingency_tables import mcnemar
from views import write

from offcourse.data.draws import keyed_generator
from offcourse.schemas.io import read_parquet
from offcourse.schemas.results import CELLS
from offcourse.tables import dola_runs


def paired_p(base: list[float], other: list[float]) -> float:
    """The exact test on who is better, question by question."""
    pairs = list(zip(base, other, strict=True))
    lost, gained = sum(b > o for b, o in pairs), sum(b < o for b, o in pairs)
    return float(mcnemar([[0, lost], [gained, 0]], exact=True).pvalue) if lost + gained else 1.0


@pytest.mark.parametrize(("number", "name", "metric"), [(6, "asked", "MC1"), (10, "told", "accuracy")])
def test_alphas_are_shown_at_the_best_bucket(dola_tables, number, name, metric):
    cells = read_parquet(dola_tables / "tables" / f"table{number}.parquet", CELLS).set_index(["row", "column"])["value"]
    for model in MODELS:
        best = max(BUCKETS[::-1], key=lambda bucket: mc1(dola_tables, model, name, bucket, 0.1, "softmax"))
        for alpha in ALPHAS:
            expected = mc1(dola_tables, model, name, best, alpha, "softmax")
            assert cells[f"{model} ({name})", f"{metric} alpha {alpha:g}"] == pytest.approx(expected)


def test_the_best_setting_is_the_best_of_buckets_and_alphas(dola_tables):
    cells = read_parquet(dola_tables / "tables" / "table1.parquet", CELLS).set_index(["row", "column"])
    for model in MODELS:
        tried = [mc1(dola_tables, model, "asked", bucket, 0.1, "softmax") for bucket in BUCKETS]
        best = BUCKETS[int(np.argmax(tried))]
        tried += [mc1(dola_tables, model, "asked", best, alpha, "softmax") for alpha in ALPHAS]
        cell = cells.loc[(f"{model} (asked)", "MC1 DoLa")]
        assert cell["value"] == pytest.approx(max(tried))
        assert 0 <= cell["ci_low"] < cell["value"] < cell["ci_high"] <= 1
        base = mc1(dola_tables, model, "asked", "", 0.0, "base")
        assert cells.loc[(f"{model} (asked)", "MC1 base"), "value"] == pytest.approx(base)


@pytest.mark.parametrize(("number", "name"), [(1, "asked"), (2, "told")])
def test_choice_value_and_test_follow_the_tie_rule(dola_results, dola_ties, number, name):
    out, shared = dola_ties
    cells, scale = cells_of(out, number), 100 if number == 2 else 1
    metric, p_values = "MC1" if number == 1 else "accuracy", {}
    for model in MODELS:
        scores = {setting: hits(dola_results, model, name, setting, shared) for setting in SETTINGS}
        best = best_setting(scores, range(30))
        row = f"{model} ({name})"
        base, dola = scores["", 0.0, "base"], scores[best]
        assert cells.loc[(row, f"{metric} DoLa"), "value"] == pytest.approx(scale * np.mean(dola))
        assert cells.loc[(row, f"{metric} base"), "value"] == pytest.approx(scale * np.mean(base))
        p_values[row] = paired_p(base, dola)
        assert cells.loc[(row, "McNemar p"), "value"] == pytest.approx(p_values[row])
        # The other rule's number of the same setting stands beside it.
        other = np.mean(hits(dola_results, model, name, best, not shared))
        rule = "as coded" if shared else "shared"
        assert cells.loc[(row, f"{metric} DoLa, ties {rule}"), "value"] == pytest.approx(scale * other)
        assert f"best setting {best[0]} % with alpha {best[1]:g}." in (out / f"table{number}.md").read_text()
    # Holm: the smallest of k is multiplied by k, the next by k - 1, and none falls below the one before.
    corrected, largest = {}, 0.0
    for place, row in enumerate(sorted(p_values, key=p_values.get)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[row]))
        corrected[row] = largest
    shown = pd.read_csv(out / f"table{number}.csv", index_col=0)["McNemar p (Holm)"]
    assert {row: shown[row] for row in corrected} == pytest.approx(corrected, rel=0.05)


def test_buckets_stand_in_the_papers_order_and_of_equal_ones_the_last_is_best():
    """In the paper's Table 4, Llama 3 8B has 0.2913 for 0-50 % and for 0-100 %; its Table 6 uses 0-100 %."""
    metrics = pd.DataFrame(
        [
            {"bucket": bucket, "alpha": 0.1, "variant": "softmax", "question": question, "mc1": float(question < hits)}
            for bucket, hits in (("0-100", 5), ("50-100", 4), ("25-75", 4), ("0-50", 5))
            for question in range(10)
        ]
    )
    run = dola_runs.DolaRun("m", "q", metrics, False, pd.DataFrame(), "mc1", "same_items")
    assert run.buckets == ["0-50", "25-75", "50-100", "0-100"]
    assert run.best_bucket(np.ones(10, bool)) == "0-100"


def test_the_tie_rule_changes_a_choice(dola_results):
    """Or the test above would hold for a choice that ignores the rule."""
    choices = [
        best_setting({setting: hits(dola_results, model, name, setting, shared) for setting in SETTINGS}, range(30))
        for shared in (False, True)
        for model in MODELS
        for name in ("asked", "told")
    ]
    assert choices[:6] != choices[6:]


@pytest.fixture(scope="module")
def halved(dola_results, tmp_path_factory):
    out = tmp_path_factory.mktemp("halves")
    scope = list(MODELS), [name for name, _ in SETS]
    write("tables_dola", dola_results, out, dola=scope, forms=SETS, selection="halves")
    return out


def held_out(scores, unit: str, choose) -> list[list[float]]:
    """Per halving, every question's hit in the setting that `choose` takes on the half that it is not in."""
    rows = []
    for halving in range(20):
        place = keyed_generator(0, unit, "halving", halving).permutation(30)
        row = [0.0] * 30
        for first in (True, False):
            here = [question for question in range(30) if (place[question] < 15) == first]
            setting = choose(scores, here)
            for question in set(range(30)) - set(here):
                row[question] = scores[setting][question]
        rows.append(row)
    return rows


@pytest.mark.parametrize(("number", "name"), [(1, "asked"), (2, "told"), (7, "asked")])
def test_with_halves_a_setting_is_reported_on_questions_that_it_was_not_chosen_on(dola_results, halved, number, name):
    cells, scale = cells_of(halved, number), 100 if number == 2 else 1
    metric = "accuracy" if number == 2 else "MC1"
    for model in MODELS:
        scores = {setting: hits(dola_results, model, name, setting) for setting in SETTINGS}
        rows = held_out(scores, name, best_setting)
        row = f"{model} ({name})"
        assert cells.loc[(row, f"{metric} DoLa"), "value"] == pytest.approx(scale * np.mean(rows))
        base = scores["", 0.0, "base"]
        assert cells.loc[(row, f"{metric} base"), "value"] == pytest.approx(scale * np.mean(base))
        if number == 7:
            bare = held_out(scores, name, lambda scores, here: (best_setting(scores, here)[0], 0.0, "no_softmax"))
            assert cells.loc[(row, "MC1 DoLa w/o softmax"), "value"] == pytest.approx(np.mean(bare))
            continue
        p = min(1.0, 2 * statistics.median(paired_p(base, dola) for dola in rows))
        assert cells.loc[(row, "McNemar p"), "value"] == pytest.approx(p)
    text = (halved / f"table{number}.md").read_text()
    assert "chosen on one half of the items and reported on the other, averaged over 20 halvings in both" in text
    assert re.search(r"best setting [\d-]+ % with alpha [\d.]+ \(\d+% of the choices\)", text)


def test_without_a_true_difference_the_published_choice_is_optimistic(dola_tables, halved):
    """All settings of the made-up scores are equally good, so what the best one has on top is chance."""
    gains = {
        folder: [
            cells_of(folder, 1).loc[(f"{model} (asked)", "MC1 DoLa"), "value"]
            - np.mean([mc1(dola_tables, model, "asked", bucket, 0.1, "softmax") for bucket in BUCKETS])
            for model in MODELS
        ]
        for folder in (dola_tables / "tables", halved)
    }
    published, halves = gains.values()
    assert all(p > h for p, h in zip(published, halves, strict=True))
