"""Each rule: on numbers that can be counted by hand, against slow loops, and whether its claim can be decided."""

import itertools

import numpy as np
import pandas as pd
import pytest
from made_numbers import (
    MANY,
    NONE,
    changed,
    figure13,
    lens,
    lettered,
    numbers,
    post_trained,
    reached,
    recovery,
    shown,
    table,
    truthful,
)  # fmt: skip
from scipy.stats import spearmanr, t

from offcourse.claims import counts, dola_rules, head_rules, layer_rules, recovery_rules
from offcourse.claims import verdicts as claims
from offcourse.claims.numbers import NoDataError, Numbers

CLAIMS = {one.name: one for one in claims.read_claims()}
LENS = ["line", "layer", "mean"]


def made(name: str, met: float) -> Numbers:
    """Results in which `met` of the models, pairs or what there is are as claim `name` counts them."""
    one = CLAIMS[name]
    if one.rule == "share_recovered":
        high = 0.8 * float(one.options["column"])
        return reached(met, one.options["row"], high, high - 0.1)
    if name == "fv-settings":
        parts = [reached(part, method, 0.8, 0.1).evidence("recovery") for part, method in
                 ((met, "FV search"), (0.0, "FV default"))]  # fmt: skip
        return numbers(evidence={"recovery": pd.concat(parts)})
    if name == "from-english":
        return reached(met, "FV search", 0.2, 0.7, "english-french")
    if name == "tv-large":
        # Of seven large models; a small one does not count.
        large = ["llama-2-13b", "llama-2-70b", "qwen2-72b", "qwen2.5-14b", "llama-3.1-70b"]
        rows = [(model, "antonym", "TV", 0.7 if at < met * 5 else 0.1) for at, model in enumerate(large)]
        return numbers(evidence={"recovery": recovery(*rows, ("llama-7b", "antonym", "TV", 0.1))})
    if name == "tv-layer":
        low = reached(met, "TV", 0.6, 0.6).evidence("recovery")
        return numbers(evidence={"recovery": low.assign(average=[0.2 if m < met * MANY else 0.5 for m in range(MANY)])})
    if name == "layers":
        width = {0.0: 5.0, 0.5: 25 / 0.8, 1.0: 100.0}[met]
        rows = [(f"m{m}", "antonym", width * m / (MANY - 1)) for m in range(MANY)]
        return numbers(figures={"figure15": pd.DataFrame(rows, columns=["model", "task", "value"])})
    if name == "localisation":
        return figure13([(f"m{m}", "antonym", 32.0 if m < met * MANY else 16.0, 0.8) for m in range(MANY)])
    if name == "localisation-translation":
        pairs = [(m, task) for m in range(MANY) for task in ("english-french", "antonym")]
        return figure13([(f"m{m}", t, 64.0 if (t == "antonym") != (m < met * MANY) else 2.0, 0.8) for m, t in pairs])
    if name == "localisation-heads":
        rows = [(f"m{m}", "a", "b", 10, 2 if m < met * MANY else 7) for m in range(MANY)]
        columns = ["model", "task", "other", "strongest", "shared"]
        return numbers(evidence={"head_overlap": pd.DataFrame(rows, columns=columns)})
    if one.rule == "mean_change_of_pairs":
        sign = -1 if one.high else 1
        return post_trained(met if sign > 0 else 1 - met, one.options["method"], 128 if "above" in one.options else 0)
    if name == "ten-shot":
        middle = {0.0: 0.2, 0.5: 0.05, 1.0: 0.02}[met]
        changes = np.linspace(-0.01, 0.01, 9) + middle
        rows = [
            (f"m{m}", shots, 0.5 + plus) for m, change in enumerate(changes) for shots, plus in ((5, 0), (10, change))
        ]
        return numbers(figures={"figure11": pd.DataFrame(rows, columns=["model", "shots", "accuracy"])})
    if name == "dola-llama-1":
        return changed(llama_7b={1.0: (0.06, 0.03, 0.09), 0.5: (0.02, -0.01, 0.05), 0.0: (-0.06, -0.09, -0.03)}[met])
    if name == "dola-loss":
        ends = {1.0: (-0.04, -0.05, -0.03), 0.5: (-0.02, -0.05, 0.01), 0.0: (0.06, 0.04, 0.08)}[met]
        return changed(**{"qwen2-7b": ends, "llama-2-70b": ends})
    if name == "dola-settings":
        rows = [(f"m{m} (q)", "MC1 base", 0.3) for m in range(MANY)]
        tried = [(f"m{m} (q)", f"MC1 {at}%", 0.3 + 0.06 * (at == "0-50" and m >= met * MANY))
                 for m in range(MANY) for at in ("0-50", "50-100")]  # fmt: skip
        empty = table()
        cells = {1: rows, 4: tried}
        made = {number: table(*((*row, NONE, NONE, 9) for row in each)) for number, each in cells.items()}
        return numbers({**made, 5: empty, 6: empty})
    if name == "dola-length":
        return truthful(met, 7, ("MC1", "MC2", "MC3"), "base", "base + length bias", 0.1)
    if name == "dola-factor":
        return truthful(met, 2, ("accuracy",), "base", "DoLa", 3.0)
    if name == "dola-truthfulqa":
        return truthful(met, 1, ("MC1", "MC2", "MC3"), "base", "DoLa", 0.06)
    if name == "dola-significant":
        return truthful(met, 1, ("MC1",), "base", "DoLa", 0.06)
    if name == "late-spiking":
        late, early = [0, 0, 0.1, 0.1, 0.8], [0, 0.7, 0.7, 0.7, 0.8]
        return shown(met, "figure2", lettered(late, late), lettered(late, early), LENS)
    if name == "early-olmo":
        return lens(**{"olmo-7b-0724-100b": {1.0: 0.1, 0.5: 0.25, 0.0: 0.4}[met]})
    if name == "gemma":
        return lens(**{"gemma-2-9b": 0.1 + {1.0: 0.35, 0.5: 0.25, 0.0: 0.0}[met], "other": 0.1})
    assert name == "apathy"
    stays, turns, top = [0.0] * 18 + [1.0] * 2, [0.0] * 8 + [1.0] * 12, [0.0] * 9 + [1.0] * 12
    blocks = [[(line, at, value, value) for line, values in (("mha", of), ("mlp", of), ("top", top))
               for at, value in enumerate(values)] for of in (turns, stays)]  # fmt: skip
    return shown(met, "figure8", *blocks, ["line", "layer", "mean", "scaled"])


# By how much of the models a claim holds, fails, and is not clear, where 1, 0 and its limit are not what does so.
PARTS = {
    "fv-default": (0.2, 1.0, 0.5), "fv-search": (0.5, 1.0, 0.75), "fv-search-half": (0.5, 1.0, 0.9),
    "tv": (0.2, 1.0, 0.5), "fv-settings": (1.0, 0.0, 0.1), "from-english": (1.0, 0.0, 0.33),
    "localisation": (1.0, 0.0, 0.1), "localisation-heads": (1.0, 0.0, 0.1),
    "dola-truthfulqa": (0.0, 1.0, 0.5), "dola-significant": (0.0, 1.0, 0.5), "dola-factor": (0.0, 1.0, 0.5),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in CLAIMS if name not in ("architecture", "tv-large")])
def test_each_claim_can_hold_fail_be_unclear_and_lack_data(name):
    one = CLAIMS[name]
    verdicts = [decided(one, made(name, met)) for met in PARTS.get(name, (1.0, 0.0, 0.5))]
    assert verdicts == [claims.HOLDS, claims.FAILS, claims.NOT_CLEAR]
    assert decided(one, numbers()) == claims.NO_DATA


def decided(one: claims.Claim, given: Numbers) -> str:
    [row] = claims.decide([one], {"ours": given})
    return row["ours"]["verdict"]


def test_of_five_models_all_is_true_of_them_and_of_others_not_clear():
    found, _ = claims.find(CLAIMS["tv-large"], made("tv-large", 1.0))
    assert (found.value, found.models) == (100.0, 5)
    assert claims.literally(CLAIMS["tv-large"], found) == claims.TRUE
    assert claims.verdict(CLAIMS["tv-large"], found) == claims.NOT_CLEAR
    assert decided(CLAIMS["tv-large"], made("tv-large", 0.0)) == claims.FAILS


@pytest.mark.parametrize(
    "name", sorted(set(CLAIMS) - {"dola-llama-1", "dola-loss", "early-olmo", "gemma", "architecture"})
)
def test_of_fewer_models_than_the_claim_asks_for_nothing_is_said(name):
    models = [
        "m0",
        "m1",
        "m2",
        "0 (q)",
        "1 (q)",
        "2 (q)",
        "0",
        "1",
        "2",
        "llama-2-7b",
        "llama-2-7b-chat",
        "llama-2-13b",
    ]
    few = made(name, 1.0).only([model.split(" (")[0] for model in models])
    assert decided(CLAIMS[name], few) == claims.TOO_FEW


# Models that count.


def test_checkpoints_of_one_model_count_once():
    olmo = ["olmo-7b-0724", "olmo-7b-0724-20b", "olmo-7b-0724-100b"]
    met = dict.fromkeys(olmo, True) | {"olmo-7b-0724-20b": False, "llama-7b": True, "pythia-6.9b": True, "x": False}
    assert counts.share_of_models(met, "Figure 2").value == 50.0
    assert counts.share_of_models(met, "Figure 2").models == 4
    assert counts.share_of_models(met, "Figure 2", "last").value == 75.0
    # The post-trained model has weights of its own, and so have two sizes.
    assert counts.share_of_models({"olmo-7b-0724": True, "olmo-7b-0724-instruct": False}, "x").models == 2
    # A model on two sets of questions is one model.
    assert counts.share_of_models({"a (x)": True, "a (y)": False, "b (x)": True}, "x").value == 50.0
    assert [counts.trained_on(name) for name in ("olmo-7b-0724", "olmo-7b-0724-20b", "x")] == [2.75e12, 2e10, 0]


def test_only_some_models_are_kept_on_every_side():
    given = numbers(
        {1: table(("a (q)", "c", 1, 0, 0, 1), ("b (q)", "c", 2, 0, 0, 1)), 3: table(("TV", "0.90", 1, 0, 0, 1))},
        {"figure8": pd.DataFrame({"model": ["a", "b"]})},
        {"recovery": pd.DataFrame({"model": ["b", "a"]})},
    ).only(["a"])
    assert given.table(1)["value"].tolist() == [1]
    assert given.figure("figure8")["model"].tolist() == given.evidence("recovery")["model"].tolist() == ["a"]
    with pytest.raises(NoDataError, match="Table 3 is of all models"):
        given.table(3)


# Recovery.


def test_a_difference_of_shares_pairs_what_it_compares():
    """Against a plain loop that draws models and tasks; two Wilson intervals would be far wider."""
    random = np.random.default_rng(0)
    search = random.random((12, 6)) < 0.6
    default = search & (random.random((12, 6)) < 0.6)
    rows = [(f"m{m}", f"t{t}", method, 0.8 if side[m, t] else 0.1)
            for method, side in (("FV search", search), ("FV default", default))
            for m, t in itertools.product(range(12), range(6))]  # fmt: skip
    given = numbers(evidence={"recovery": recovery(*rows)})
    found = recovery_rules.share_recovered_more(given, "3", "FV search", "FV default", "0.90")
    more = search.astype(float) - default
    means = []
    for _ in range(4000):
        models, tasks = random.integers(12, size=12), random.integers(6, size=6)
        means.append(np.mean([more[m, t] for m in models for t in tasks]))
    assert found.value == pytest.approx(100 * more.mean())
    assert (found.low, found.high) == pytest.approx(tuple(100 * np.quantile(means, [0.025, 0.975])), abs=2)
    assert (found.n, found.models) == (72, 12)


def test_a_pair_that_one_of_two_methods_lacks_is_in_neither_side_of_a_difference():
    given = numbers(evidence={"recovery": recovery(
        ("a", "x", "FV search", 0.8), ("a", "y", "FV search", 0.8), ("b", "x", "FV search", 0.8),
        ("a", "x", "FV default", 0.8), ("b", "x", "FV default", 0.1),
    )})  # fmt: skip
    found = recovery_rules.share_recovered_more(given, "3", "FV search", "FV default", "0.90")
    assert (found.value, found.n) == (50.0, 2)


def test_recovery_is_of_the_pairs_own_few_shot_accuracy():
    frame = recovery(("a", "x", "TV", 0.4), ("a", "y", "TV", 0.2), ("b", "x", "TV", 0.2))
    frame = frame.assign(few_shot=0.1, own_few_shot=[0.8, 0.0, 0.4])
    given = numbers(evidence={"recovery": frame})
    # A pair with nothing to recover has no recovery; Table 3 counts it, and divides by what the protocol says.
    assert recovery_rules.share_that_recover(given, "TV", "0.5").value == 100.0
    assert recovery_rules.share_that_recover(given, "TV", "0.51").value == 0.0
    assert recovery_rules.share_recovered(given, "3", "TV", "1.00").n == 3


def test_changes_after_post_training_are_those_of_the_same_tasks():
    base, post = "llama-2-7b", "llama-2-7b-chat"
    rows = [(base, "x", "TV", 0.4), (post, "x", "TV", 0.72), (base, "y", "TV", 0.8), ("qwen2-7b", "x", "TV", 0.4)]
    rows += [("llama-2-13b", "x", "TV", 0.4), ("llama-2-13b-chat", "x", "TV", 0.4)]
    found = recovery_rules.mean_change_of_pairs(numbers(evidence={"recovery": recovery(*rows)}), "TV")
    assert (found.value, found.n) == (pytest.approx(0.2), 2)
    half = t.ppf(0.975, 1) * np.std([0.4, 0.0], ddof=1) / 2**0.5
    assert (found.low, found.high) == pytest.approx((0.2 - half, 0.2 + half))
    with pytest.raises(NoDataError, match="no base model here"):
        recovery_rules.mean_change_of_pairs(numbers(evidence={"recovery": recovery(*rows[2:4])}), "TV")


def test_changes_with_many_heads_leave_out_the_others():
    rows = [(model, "x", "FV heads", peak, heads) for model, peaks in
            (("llama-2-7b", (0.4, 0.4, 0.4)), ("llama-2-7b-chat", (0.0, 0.8, 0.4)))
            for heads, peak in zip((2, 128, 512), peaks, strict=True)]  # fmt: skip
    given = numbers(evidence={"recovery": recovery(*rows)})
    assert recovery_rules.mean_change_of_pairs(given, "FV heads", "64").value == pytest.approx(0.25)
    assert recovery_rules.mean_change_of_pairs(given, "FV heads").value == pytest.approx(0.0)


def test_shots_that_a_study_does_not_have_are_named():
    frame = pd.DataFrame({"model": ["a", "b"] * 2, "shots": [0, 0, 5, 5], "accuracy": [0.1, 0.2, 0.5, 0.6]})
    given = numbers(figures={"figure11": frame})
    assert recovery_rules.mean_change_by_shots(given, "5", "0").value == pytest.approx(0.4)
    with pytest.raises(NoDataError, match="there is no 10-shot accuracy here, only 0-shot, 5-shot"):
        recovery_rules.mean_change_by_shots(given, "10", "5")


def facts(models: list[str], layers: list[float], kinds: list[str]) -> pd.DataFrame:
    rows = []
    for model, value, kind in zip(models, layers, kinds, strict=True):
        rows += [(model, fact, value if fact == "n_layers" else 7.0, "7") for fact in recovery_rules.FACTS]
        at = len(rows) - len(recovery_rules.FACTS) + recovery_rules.FACTS.index("attention")
        rows[at] = (model, "attention", NONE, kind)
    frame = pd.DataFrame(rows, columns=["row", "column", "value", "text"])
    return frame[~((frame["column"] == "hidden_act") & frame["value"].isna())].drop_duplicates(
        ["row", "column"], keep="last"
    )


def test_a_pattern_by_architecture_is_found_and_named_and_none_is_not_seen_in_few_families():
    models = [
        "gpt-j-6b", "pythia-6.9b", "llama-7b", "llama-2-7b", "llama-3.1-8b", "mistral-7b-v0.1", "amber-7b",
        "falcon-3-7b", "qwen2-7b", "qwen2.5-7b", "gemma-2-9b", "olmo-7b-0724", "olmo-2-7b", "llama-3.2-3b",
    ]  # fmt: skip
    random, layers = np.random.default_rng(3), list(range(14))
    kinds = ["MHA", "GQA"] * 7

    def found(peaks):
        rows = [(model, "x", "FV search", float(peak)) for model, peak in zip(models, peaks, strict=True)]
        given = numbers({11: facts(models, layers, kinds)}, evidence={"recovery": recovery(*rows)})
        return recovery_rules.strongest_fact(given, "FV search")

    clear = found(np.linspace(0.1, 0.7, 14))
    assert (clear.note, clear.models, clear.value) == ("n_layers", 14, pytest.approx(1.0))
    assert claims.verdict(CLAIMS["architecture"], clear) == claims.FAILS
    peaks = random.random(14) * 0.7
    noise = found(peaks)
    by_hand = {"n_layers": spearmanr(peaks, layers)[0], "attention": spearmanr(peaks, [k == "GQA" for k in kinds])[0]}
    assert noise.note == max(by_hand, key=lambda fact: abs(by_hand[fact]))
    assert noise.value == pytest.approx(abs(by_hand[noise.note]))
    # That no correlation is seen in fourteen families does not say that there is none.
    assert claims.verdict(CLAIMS["architecture"], noise) == claims.NOT_CLEAR
    assert noise.low == 0.0 and noise.high > 0.3


# Heads.


def test_pairs_that_are_not_steered_have_no_number_of_heads():
    given = figure13([("a", "antonym", 64.0, 0.9), ("a", "present-past", 2.0, 0.9), ("b", "antonym", np.nan, 0.1)])
    found = head_rules.share_with_many_heads(given, "16")
    assert (found.value, found.n, found.models) == (50.0, 2, 1)
    with pytest.raises(NoDataError, match="recover nothing"):
        head_rules.share_with_many_heads(figure13([("b", "antonym", np.nan, 0.1)]), "16")


def test_heads_are_compared_over_all_pairs_of_tasks_of_a_model():
    rows = [("a", "x", "y", 10, 2), ("a", "x", "z", 10, 9), ("b", "x", "y", 10, 4), ("b", "x", "y", 20, 19)]
    frame = pd.DataFrame(rows, columns=["model", "task", "other", "strongest", "shared"])
    found = head_rules.share_with_other_heads(numbers(evidence={"head_overlap": frame}), "10", "0.5")
    assert (found.value, found.n) == (50.0, 2)


# DoLa.


def test_gains_leave_out_the_quoted_row_and_models_with_one_side():
    frame = table(
        ("a* (q)", "MC1 base", 1.0, 0, 0, 1), ("a* (q)", "MC1 DoLa", 9.0, 0, 0, 1),
        ("b (q)", "MC1 base", 0.26, 0, 0, 1), ("b (q)", "MC1 DoLa", 0.32, 0, 0, 1),
        ("c (q)", "MC1 base", 0.26, 0, 0, 1), ("c (q)", "MC1 DoLa", 0.20, 0, 0, 1),
        ("d (q)", "MC1 base", 0.26, 0, 0, 1),
    )  # fmt: skip
    found = dola_rules.share_that_gains(numbers({1: frame}), "1", "MC1", "0.06", **{"from": "base", "to": "DoLa"})
    assert (found.value, found.n) == (50.0, 2)


def test_significance_is_corrected_over_models_and_needs_a_gain():
    rows = [("a (q)", 0.4, 0.004), ("b (q)", 0.4, 0.03), ("c (q)", 0.2, 0.001)]
    cells = [(row, name, value, 0, 0, 9) for row, dola, p in rows
             for name, value in (("MC1 base", 0.3), ("MC1 DoLa", dola), ("McNemar p", p))]  # fmt: skip
    # Holm: 0.003, 0.008, 0.03; c loses.
    assert dola_rules.share_significant(numbers({1: table(*cells)}), "1", "MC1").value == pytest.approx(200 / 3)
    worse = [(row, name, 0.04 if value == 0.03 else 0.02 if name == "McNemar p" else value, *end)
             for row, name, value, *end in cells]  # fmt: skip
    assert dola_rules.share_significant(numbers({1: table(*worse)}), "1", "MC1").value == 0.0


def test_the_smaller_of_two_losses_counts_with_ends_that_hold_for_three_metrics():
    given = changed(**{"qwen2-7b": (-0.04, -0.06, -0.02), "llama-2-70b": (-0.03, -0.05, -0.01)})
    found = dola_rules.largest_loss(given, "qwen2-7b, llama-2-70b", "MC1, MC2, MC3")
    assert (found.value, found.note, found.models) == (-0.03, "llama-2-70b, MC1", 2)
    # Bonferroni's normal quantile for three: 2.394 in the place of 1.960.
    half = 0.02 * 2.39398 / 1.95996
    assert (found.low, found.high) == pytest.approx((-0.03 - half, -0.03 + half), rel=1e-4)
    with pytest.raises(NoDataError, match="llama-7b is not here"):
        dola_rules.smallest_change(given, "llama-7b", "MC1")


# Layers.


@pytest.mark.parametrize(
    ("right", "wrong", "late"),
    [
        ([0, 0, 0.1, 0.2, 0.8], [0, 0, 0.1, 0.1, 0.4], True),
        # The wrong letter rises at once; it is likely at half of the depth; both rise too far apart.
        ([0, 0, 0.1, 0.2, 0.8], [0, 0.4, 0.1, 0.1, 0.4], False),
        ([0, 0, 0.1, 0.2, 0.8], [0, 0, 0.3, 0.1, 0.4], False),
        ([0, 0, 0, 0, 0, 0.1, 0.8], [0, 0, 0, 0.3, 0.5, 0.6, 0.7], False),
    ],
)
def test_late_rise(right, wrong, late):
    given = shown(1.0, "figure2", lettered(right, wrong), [], LENS)
    assert layer_rules.share_with_late_rise(given, "0.5", "1", "all").value == 100.0 * late


def test_named_models_are_read_in_their_lower_half_against_the_next():
    given = lens(**{"gemma-2-9b": 0.45, "a": 0.2, "b": 0.1})
    found = layer_rules.early_certainty(given, "gemma-2-9b", "0.5")
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.23, 0.27))
    assert found.note == "the next is a"
    letters = layer_rules.early_letters(given, "a", "0.5")
    assert (letters.value, letters.low, letters.high) == pytest.approx((0.4, 0.38, 0.42))
    with pytest.raises(NoDataError, match="no model beside a here"):
        layer_rules.early_certainty(lens(a=0.2), "a", "0.5")
    with pytest.raises(NoDataError, match="c is not here"):
        layer_rules.early_letters(given, "c", "0.5")


@pytest.mark.parametrize(
    ("line", "place"),
    [([0, 0.2, 0.25, 1], 2), ([1, 0, 0, 0.5], 3), ([1, 0.5, 0.3, 0], None), ([0.5, 0.5, 0.5], None)],
)
def test_where_a_line_begins_to_increase(line, place):
    assert layer_rules.begins(np.array(line, float), 0.25) == place
