import numpy as np
import pandas as pd
import pytest

from offcourse.claims import rules
from offcourse.claims import verdicts as claims
from offcourse.errors import OffcourseError

NAMES = [
    "fv-default", "fv-search", "fv-search-half", "fv-settings", "tv", "dola-truthfulqa", "dola-significant",
    "dola-length", "dola-factor", "localisation", "localisation-translation", "localisation-heads", "post-training-fv",
    "post-training-tv", "late-spiking", "apathy",
]  # fmt: skip


def claim(**changes) -> claims.Claim:
    """A claim about one cell, below 50."""
    base = dict.fromkeys(claims.Claim.__dataclass_fields__, "x")
    return claims.Claim(**{**base, "rule": "cell", "holds": "below", "limit": "50", "arguments": "", **changes})


def table(*cells) -> pd.DataFrame:
    return pd.DataFrame(cells, columns=["row", "column", "value", "ci_low", "ci_high", "n"])


def numbers(tables=None, figures=None) -> claims.Numbers:
    return claims.study_numbers(tables or {}, figures or {})


def test_the_claims_are_in_the_papers_order():
    assert [each.name for each in claims.read_claims()] == NAMES


def test_printed_numbers_decide_the_claims_about_tables():
    decided = claims.decide(claims.read_claims(), {"printed": claims.printed_numbers()})
    found = {row["claim"].name: row["printed"] for row in decided}
    # By hand. Table 1: in most metrics only Llama 7B and Pythia gain 0.05. Table 7: with the bias MC2 and MC3 rise for
    # all. Table 2: only Llama 7B gains two points.
    expected = {"fv-default": 20, "fv-search": 52, "fv-search-half": 76, "fv-settings": 32, "tv": 35}
    expected |= {"dola-truthfulqa": 20, "dola-length": 100, "dola-factor": 10}
    assert {name: found[name]["found"].value for name in expected} == pytest.approx(expected)
    assert found["dola-truthfulqa"]["found"].n == 10
    for name in expected:
        # 2 of 10 models: the Wilson interval ends at 51 %.
        assert found[name]["verdict"] == (claims.NOT_CLEAR if name == "dola-truthfulqa" else claims.HOLDS), name
    assert found["dola-significant"]["why"] == "no test of Table 1 is printed"
    for name in NAMES[9:]:
        assert found[name] == {"found": None, "verdict": claims.NO_DATA, "why": claims.NOT_PRINTED}


@pytest.mark.parametrize(
    ("holds", "value", "low", "high", "expected"),
    [
        ("below", 20, 10, 40, claims.HOLDS),
        ("below", 20, 10, 60, claims.NOT_CLEAR),
        ("below", 70, 60, 80, claims.FAILS),
        ("below", 50, np.nan, np.nan, claims.FAILS),
        ("above", 70, 60, 80, claims.HOLDS),
        ("above", 70, np.nan, np.nan, claims.HOLDS),
        ("above", 20, 10, 40, claims.FAILS),
        ("differs", 20, 10, 40, claims.HOLDS),
        ("differs", 50, 50, 50, claims.NOT_CLEAR),
    ],
)
def test_verdict(holds, value, low, high, expected):
    assert claims.verdict(claim(holds=holds), claims.Found(value, low, high)) == expected


def test_a_claim_without_data_says_why():
    decided = claims.decide(claims.read_claims(), {"ours": numbers(), "release": claims.released_numbers({})})
    assert all(row["ours"]["why"].startswith("there is no ") for row in decided)
    assert {row["release"]["why"] for row in decided} == {claims.NO_RELEASE}
    assert {row["ours"]["verdict"] for row in decided} == {claims.NO_DATA}


def test_an_empty_cell_is_no_data():
    empty = numbers({3: table(("FV default", "0.90", None, None, None, 0))})
    with pytest.raises(claims.NoDataError, match="FV default at 0.90"):
        rules.cell(empty, "3", "FV default", "0.90")


def test_gains_leave_out_the_quoted_row_and_models_with_one_side():
    frame = table(
        ("a* (q)", "MC1 base", 1.0, 0, 0, 1), ("a* (q)", "MC1 DoLa", 9.0, 0, 0, 1),
        ("b (q)", "MC1 base", 0.26, 0, 0, 1), ("b (q)", "MC1 DoLa", 0.32, 0, 0, 1),
        ("c (q)", "MC1 base", 0.26, 0, 0, 1), ("c (q)", "MC1 DoLa", 0.20, 0, 0, 1),
        ("d (q)", "MC1 base", 0.26, 0, 0, 1),
    )  # fmt: skip
    found = rules.share_that_gains(numbers({1: frame}), "1", "MC1", "0.06", **{"from": "base", "to": "DoLa"})
    assert (found.value, found.n) == (50.0, 2)


def test_release_is_read_as_a_study_and_says_which_figures_it_lacks():
    figure = pd.DataFrame({"change": [0.1, 0.2], "pairs": [2, 2]})
    released = claims.released_numbers({3: table(("TV", "0.90", 31.0, 25.0, 37.0, 261))}, {"figure16": figure})
    assert rules.cell(released, "3", "TV", "0.90") == claims.Found(31.0, 25.0, 37.0, 261)
    assert rules.mean_change(released).value == pytest.approx(0.15)
    with pytest.raises(claims.NoDataError, match="the release has no such numbers"):
        rules.share_that_turn_together(released, "0.25", "0.1")


# What each claim's rule says of made-up models, of which the share given by `met` is as the claim has it.

MANY = 40
POST_TRAINED = [
    ("llama-2-7b", "llama-2-7b-chat"), ("llama-2-13b", "llama-2-13b-chat"), ("qwen2-7b", "qwen2-7b-instruct"),
    ("gemma-2-9b", "gemma-2-9b-it"), ("olmo-2-7b", "olmo-2-7b-instruct"),
]  # fmt: skip


def truthful(met: float, number: int, metrics, before: str, after: str, gain: float) -> claims.Numbers:
    """`met`: the share of models that gain in all metrics but one; the others gain in that one alone."""
    rows = []
    for model in range(MANY):
        gains = model < met * MANY
        for at, metric in enumerate(metrics):
            plus = gain if gains == (at > 0 or len(metrics) == 1) else 0.0
            rows += [(f"{model} (q)", f"{metric} {before}", 0.3), (f"{model} (q)", f"{metric} {after}", 0.3 + plus)]
        rows.append((f"{model} (q)", "McNemar p", 1e-6 if gains else 0.04))
    return numbers({number: table(*((*row, np.nan, np.nan, 100) for row in rows))})


def recovered(rows) -> claims.Numbers:
    return numbers(figures={"figure13": pd.DataFrame(rows, columns=["model", "task", "value", "peak_recovery"])})


def lettered(right, wrong) -> list[tuple]:
    return [
        (line, layer, mean)
        for line, means in (("correct", right), ("incorrect", wrong))
        for layer, mean in enumerate(means)
    ]


def shown(met: float, figure: str, if_met: list[tuple], otherwise: list[tuple], columns: list[str]) -> claims.Numbers:
    rows = [(str(m), "q", *row) for m in range(MANY) for row in (if_met if m < met * MANY else otherwise)]
    return numbers(figures={figure: pd.DataFrame(rows, columns=["model", "questions", *columns])})


def made(name: str, met: float) -> claims.Numbers:
    """Results in which `met` of the models or pairs are as claim `name` counts them."""
    if name in ("fv-default", "fv-search", "fv-search-half", "tv"):
        each = {one.name: one for one in claims.read_claims()}[name].options
        percent = 100 * met
        return numbers({3: table((each["row"], each["column"], percent, percent - 8, percent + 8, 100))})
    if name == "fv-settings":
        cells = (("FV default", "0.90", 20.0), ("FV search", "0.90", 20.0 + 50 * met))
        return numbers({3: table(*((*cell, np.nan, np.nan, 100) for cell in cells))})
    if name == "dola-length":
        return truthful(met, 7, ("MC1", "MC2", "MC3"), "base", "base + length bias", 0.1)
    if name == "dola-factor":
        return truthful(met, 2, ("accuracy",), "base", "DoLa", 3.0)
    if name == "dola-truthfulqa":
        return truthful(met, 1, ("MC1", "MC2", "MC3"), "base", "DoLa", 0.06)
    if name == "dola-significant":
        return truthful(met, 1, ("MC1",), "base", "DoLa", 0.06)
    if name == "localisation":
        return recovered([(f"m{m}", "antonym", 32.0 if m < met * MANY else 16.0, 0.8) for m in range(MANY)])
    if name == "localisation-translation":
        pairs = [(m, task) for m in range(MANY) for task in ("english-french", "antonym")]
        return recovered([(f"m{m}", t, 64.0 if (t == "antonym") != (m < met * MANY) else 2.0, 0.8) for m, t in pairs])
    if name == "localisation-heads":
        rows = [(f"m{m}", 0, h, 50.0 if m < met * MANY and h == 0 else 0.5) for m in range(MANY) for h in range(100)]
        return numbers(figures={"figure9": pd.DataFrame(rows, columns=["model", "layer", "head", "effect"])})
    if name == "post-training-fv":
        # Pairs of models change by -0.2 to 0.2, or so around what `met` says.
        changes = np.linspace(-0.2, 0.2, len(POST_TRAINED)) + 2 * (met - 0.5)
        rows = [(model, "antonym", 2.0, 1.0 + change) for (base, post), plus in zip(POST_TRAINED, changes, strict=True)
                for model, change in ((base, 0.0), (post, plus))]  # fmt: skip
        return recovered(rows)
    if name == "post-training-tv":
        changes = np.linspace(-0.2, 0.2, 5) + 2 * (met - 0.5)
        return numbers(figures={"figure16": pd.DataFrame({"change": changes, "pairs": 9})})
    if name == "late-spiking":
        late, early = [0, 0, 0.1, 0.1, 0.8], [0, 0.7, 0.7, 0.7, 0.8]
        columns = ["line", "layer", "mean"]
        return shown(met, "figure2", lettered(late, late), lettered(late, early), columns)
    assert name == "apathy"
    stays, turns, top = [0.0] * 18 + [1.0] * 2, [0.0] * 8 + [1.0] * 12, [0.0] * 9 + [1.0] * 12
    blocks = [
        [
            (line, at, value, value)
            for line, values in (("mha", of), ("mlp", of), ("top", top))
            for at, value in enumerate(values)
        ]
        for of in (turns, stays)
    ]
    return shown(met, "figure8", *blocks, ["line", "layer", "mean", "scaled"])


@pytest.mark.parametrize("name", NAMES)
def test_each_claim_can_hold_fail_be_unclear_and_lack_data(name):
    [one] = [each for each in claims.read_claims() if each.name == name]
    limit = {"fv-settings": 0.2, "post-training-fv": 0.5, "post-training-tv": 0.5}.get(name, float(one.limit) / 100)
    sides = {"above": 1.0, "below": 0.0}
    good, bad = sides[one.holds], 1 - sides[one.holds]
    verdicts = [decided(one, made(name, met)) for met in (good, bad, limit)]
    # A difference of two cells has no interval.
    unclear = claims.FAILS if name == "fv-settings" else claims.NOT_CLEAR
    assert verdicts == [claims.HOLDS, claims.FAILS, unclear]
    assert decided(one, numbers()) == claims.NO_DATA


def decided(one: claims.Claim, given: claims.Numbers) -> str:
    [row] = claims.decide([one], {"ours": given})
    return row["ours"]["verdict"]


# The rules on a few numbers that can be counted by hand.


def test_significance_is_corrected_over_models_and_needs_a_gain():
    rows = [("a (q)", 0.4, 0.004), ("b (q)", 0.4, 0.03), ("c (q)", 0.2, 0.001)]
    cells = [(row, name, value, 0, 0, 9) for row, dola, p in rows
             for name, value in (("MC1 base", 0.3), ("MC1 DoLa", dola), ("McNemar p", p))]  # fmt: skip
    # Holm: 0.003, 0.008, 0.03; c loses.
    assert rules.share_significant(numbers({1: table(*cells)}), "1", "MC1").value == pytest.approx(200 / 3)
    worse = [
        (row, name, 0.04 if value == 0.03 else 0.02 if name == "McNemar p" else value, *end)
        for row, name, value, *end in cells
    ]
    assert rules.share_significant(numbers({1: table(*worse)}), "1", "MC1").value == 0.0


def test_pairs_that_are_not_steered_have_no_number_of_heads():
    given = recovered([("a", "antonym", 64.0, 0.9), ("a", "present-past", 2.0, 0.9), ("b", "antonym", np.nan, 0.1)])
    found = rules.share_with_many_heads(given, "16")
    assert (found.value, found.n) == (50.0, 2)
    with pytest.raises(claims.NoDataError, match="recover nothing"):
        rules.share_with_many_heads(recovered([("b", "antonym", np.nan, 0.1)]), "16")


def test_few_heads():
    rows = [("few", 0, head, 1.0 if head == 0 else 0.001 if head < 50 else -3.0) for head in range(100)]
    rows += [("many", 0, head, 1.0) for head in range(100)]
    frame = pd.DataFrame(rows, columns=["model", "layer", "head", "effect"])
    found = rules.share_with_few_heads(numbers(figures={"figure9": frame}), "0.02", "0.5")
    assert (found.value, found.n) == (50.0, 2)


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
    given = shown(1.0, "figure2", lettered(right, wrong), [], ["line", "layer", "mean"])
    assert rules.share_with_late_rise(given, "0.5", "1").value == 100.0 * late


@pytest.mark.parametrize(
    ("line", "place"),
    [([0, 0.2, 0.25, 1], 2), ([1, 0, 0, 0.5], 3), ([1, 0.5, 0.3, 0], None), ([0.5, 0.5, 0.5], None)],
)
def test_where_a_line_begins_to_increase(line, place):
    assert rules._begins(np.array(line, float), 0.25) == place


def test_change_after_post_training():
    frame = pd.DataFrame({"change": [0.1, 0.2, 0.3, np.nan], "pairs": [2, 2, 2, 0]})
    found = rules.mean_change(numbers(figures={"figure16": frame}))
    assert found.value == pytest.approx(0.2)
    # Student's quantile with two degrees of freedom.
    assert found.low == pytest.approx(0.2 - 4.302653 * 0.1 / 3**0.5)
    rows = [("llama-2-7b", "antonym", 2.0, 0.5), ("llama-2-7b-chat", "antonym", 2.0, 0.9)]
    rows += [("llama-2-7b", "present-past", 2.0, np.nan), ("llama-2-7b-chat", "present-past", 2.0, 0.4)]
    rows += [("qwen2-7b", "antonym", 2.0, 0.5), ("gemma-2-9b-it", "antonym", 2.0, 0.5)]
    found = rules.mean_change_of_pairs(recovered(rows))
    assert (found.value, found.n) == (pytest.approx(0.4), 1)
    with pytest.raises(claims.NoDataError, match="no base model here"):
        rules.mean_change_of_pairs(recovered(rows[4:]))


def test_a_wrong_line_is_named(tmp_path):
    good = (claims.RESOURCES / "claims.tsv").read_text(encoding="utf-8")
    (tmp_path / "claims.tsv").write_text(good.replace("\tmean_change\t", "\tmean_chance\t"), encoding="utf-8")
    with pytest.raises(OffcourseError, match=r"claims\.tsv, line 15, column rule: expected one of .*mean_chance"):
        claims.read_claims(tmp_path)
