"""Cards of the paper's own methods, of results that were computed here, against loops over the items."""

import json
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from judging import judged_here
from scipy.stats import hypergeom

from offcourse.analysis.benefits import BENEFITS, apart, verdict
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.judge import card as cards
from offcourse.judge import page
from offcourse.judge.asked import asked
from offcourse.judge.paper import PAPER_METHODS
from offcourse.schemas.io import read_parquet

REGISTRY = Registry.load()
UNITS = {
    "function_vectors": {"tasks": ["present-past", "antonym"]},
    "task_vectors": {"tasks": ["present-past", "antonym"]},
    "dola": {"questions": ["misconceptions"]},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """{method: (its card, its table of verdicts, the folder of its study's results)}."""
    found = {}
    for name, units in UNITS.items():
        folder = tmp_path_factory.mktemp(name)
        wanted = asked(
            name, ["tiny-llama"], units.get("tasks", []), {}, REGISTRY, 8, questions=units.get("questions", [])
        )
        _, layout, path = judged_here(wanted, folder)
        table = read_parquet(layout.results / f"tables/{PAPER_METHODS[name].table}.parquet", BENEFITS)
        found[name] = cards.card(wanted, path, folder, 1.0), table, layout.results
        page.write(found[name][0], folder / "card.html")
        assert PAPER_METHODS[name].source in (folder / "card.html").read_text()
    return found


@pytest.mark.parametrize("name", PAPER_METHODS)
def test_a_card_has_the_rows_of_its_table_and_says_what_is_not_measured(made, name):
    card, table, _ = made[name]
    assert json.loads(json.dumps(card, allow_nan=False)) == card and card["pairs"] == card["baseline"] == []
    mine = table[table["method"] == PAPER_METHODS[name].label]
    assert [row["on"] for row in card["benefits"]] == mine["on"].tolist() == next(iter(UNITS[name].values()))
    for row, own in zip(card["benefits"], mine.to_dict("records"), strict=True):
        assert row["verdict"] == own["verdict"] == verdict(own)
        assert all(row[key] == value or (row[key] is None and pd.isna(value)) for key, value in own.items())
    text = "\n".join(cards.lines(card))
    assert "harm        not measured for this method" in text
    assert "reliability not measured for this method" in text
    assert ("controls not measured for this method" in text) == (name != "function_vectors")
    assert card["judged"]["label"] in text.splitlines()[0]


def test_function_vectors_are_compared_with_controls_on_the_same_items(made):
    card, _, results = made["function_vectors"]
    for row in card["benefits"]:
        icl = pd.read_parquet(results / f"tiny-llama/icl/{row['on']}.parquet")
        controls = pd.read_parquet(results / f"tiny-llama/fv_controls/{row['on']}.parquet")
        assert set(controls["control"]) == {"random_direction", "shuffled_labels", "other_task"}
        assert row["unsteered"] == pytest.approx(icl[icl["shots"] == 0]["hit"].mean())
        assert row["few_shot"] == pytest.approx(icl[icl["shots"] == 5]["hit"].mean())
        sweep = pd.read_parquet(results / f"tiny-llama/fv_sweep/{row['on']}.parquet")
        best = sweep.groupby(["n_heads", "strength", "layer"])["hit"].mean().max()
        assert row["items"] == sweep["item"].nunique() == 8 and 0 <= row["steered"] <= best
        assert row["gain"] == pytest.approx(row["steered"] - row["unsteered"])
        assert (
            row["control"] <= controls.groupby(["control", "draw", "n_heads", "strength", "layer"])["hit"].mean().max()
        )


def test_task_vectors_are_at_the_layer_of_the_development_prompts(made):
    card, _, results = made["task_vectors"]
    for row in card["benefits"]:
        sweep = pd.read_parquet(results / f"tiny-llama/tv_sweep/{row['on']}.parquet")
        dev = {n: [hit for layer, split, hit in sweep[["layer", "split", "hit"]].itertuples(index=False)
                   if layer == n and split == "dev"] for n in sorted(set(sweep["layer"]))}  # fmt: skip
        layer = max(dev, key=lambda n: np.mean(dev[n]))
        test = sweep[(sweep["split"] == "test") & (sweep["layer"] == layer)]["hit"]
        icl = pd.read_parquet(results / f"tiny-llama/tv_icl/{row['on']}.parquet")
        assert row["setting"].startswith(f"layer {layer},") and row["items"] == len(test)
        assert row["steered"] == pytest.approx(test.mean())
        assert row["unsteered"] == pytest.approx(icl[icl["shots"] == 0]["hit"].mean())
        assert row["prompting"] == row["few_shot"] == pytest.approx(icl[icl["shots"] == 5]["hit"].mean())


def test_dola_has_the_change_of_its_row_in_the_table_of_methods(made):
    card, table, results = made["dola"]
    cells = pd.read_parquet(results / "tables/table_methods_questions.parquet").set_index(["row", "column"])
    [row] = card["benefits"]
    for name, what in (("gain", "MC1 change"), ("over_prompting", "MC1 change against prompting")):
        cell = cells.loc["DoLa, tiny-llama (misconceptions)", what]
        ends = [row[f"{name}{end}"] for end in ("", "_low", "_high")]
        assert ends == cell[["value", "ci_low", "ci_high"]].tolist()
    assert set(table["method"]) == {"DoLa", "Prompting"} and row["setting"].startswith("bucket ")


def wilson(hits: int, items: int) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.975)
    middle = (hits + z**2 / 2) / (items + z**2)
    half = z / (items + z**2) * (hits * (items - hits) / items + z**2 / 4) ** 0.5
    return middle - half, middle + half


def test_sides_with_their_own_items_have_newcombes_interval_and_fishers_test():
    """By the formula of the publication (Newcombe 1998, method 10), and by adding up hypergeometric probabilities."""
    base, steered, few = (np.arange(size) < hits for size, hits in ((40, 6), (30, 21), (25, 12)))
    found = apart(*(each.astype(float) for each in (base, steered, few)))
    for name, other in (("gain", base), ("over_prompting", few)):
        one, two = steered.mean(), other.mean()
        (low1, high1), (low2, high2) = wilson(steered.sum(), len(steered)), wilson(other.sum(), len(other))
        assert found[name] == pytest.approx(one - two)
        assert found[f"{name}_low"] == pytest.approx(one - two - ((one - low1) ** 2 + (high2 - two) ** 2) ** 0.5)
        assert found[f"{name}_high"] == pytest.approx(one - two + ((high1 - one) ** 2 + (two - low2) ** 2) ** 0.5)
    for name, other in (("p_luck", base), ("p_prompting", few)):
        total, hits = len(steered) + len(other), steered.sum() + other.sum()
        chances = [hypergeom(total, hits, len(steered)).pmf(k) for k in range(len(steered) + 1)]
        as_rare = chances[steered.sum()] * (1 + 1e-9)
        assert found[name] == pytest.approx(sum(chance for chance in chances if chance <= as_rare))


@pytest.mark.parametrize(
    ("name", "tasks", "questions", "more", "said"),
    [
        ("dola", [], [], {}, "dola is judged on question sets, and none is named. Name some, as --questions"),
        ("dola", ["antonym"], ["misconceptions"], {}, "dola runs on question sets, not on tasks. Leave --tasks out"),
        ("task_vectors", [], ["misconceptions"], {}, "task_vectors runs on tasks, .* caa, .*, dola run on them"),
        ("function_vectors", ["antonym"], ["passages"], {}, "function_vectors runs on tasks, not on question sets"),
        ("dola", [], ["behaviours"], {}, "behaviours does not have the form that is needed"),
        ("task_vectors", ["antonym"], [], {"strengths": [1.0]}, "--strengths: task_vectors has none"),
        ("logit_lens", [], [], {}, "'logit_lens' is neither a method nor a file .*: known: .*dola, .*function_vectors"),
    ],
)
def test_what_a_method_cannot_be_asked_is_one_message(name, tasks, questions, more, said):
    with pytest.raises(OffcourseError, match=said) as refused:
        asked(name, ["tiny-llama"], tasks, {}, REGISTRY, questions=questions, **more).check(REGISTRY)
    assert "\n" not in str(refused.value)
