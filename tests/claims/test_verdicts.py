"""Verdicts: words that follow from a band and an interval, and what decides nothing."""

import numpy as np
import pytest
from made_numbers import numbers, table

from offcourse.claims import verdicts as claims
from offcourse.claims.numbers import Found, NoDataError
from offcourse.claims.turns import limits, turns
from offcourse.errors import OffcourseError

NAMES = [
    "fv-default", "fv-search", "fv-search-half", "fv-settings", "from-english", "tv", "tv-large", "tv-layer", "layers",
    "localisation", "localisation-translation", "localisation-heads", "post-training-fv", "post-training-heads",
    "post-training-tv", "ten-shot", "architecture", "dola-llama-1", "dola-truthfulqa", "dola-significant", "dola-loss",
    "dola-settings", "dola-length", "dola-factor", "late-spiking", "early-olmo", "gemma", "apathy",
]  # fmt: skip
CELL = "table=3; row=FV default; column=0.90"


def claim(**changes) -> claims.Claim:
    """A claim about one cell, between 0 and 50."""
    base = dict.fromkeys(claims.Claim.__dataclass_fields__, "")
    own = {"rule": "share_recovered", "arguments": CELL, "low": "0", "high": "50", "least": "5", "about": "models"}
    return claims.Claim(**{**base, **own, **changes})


def test_the_claims_are_those_of_the_paper():
    assert [each.name for each in claims.read_claims()] == NAMES


@pytest.mark.parametrize(
    ("low", "high", "ends", "expected"),
    [
        ("0", "50", (10, 40), claims.HOLDS),
        ("0", "50", (10, 60), claims.NOT_CLEAR),
        ("0", "50", (60, 80), claims.FAILS),
        # None at all is not "a few", however narrow its interval.
        ("0", "50", (0, 10), claims.NOT_CLEAR),
        ("0", "50", (0, 0), claims.NOT_CLEAR),
        ("10", "", (0, 5), claims.FAILS),
        # "About half" is neither all nor none.
        ("25", "75", (30, 70), claims.HOLDS),
        ("25", "75", (80, 95), claims.FAILS),
        ("25", "75", (5, 20), claims.FAILS),
        ("25", "75", (74, 95), claims.NOT_CLEAR),
        ("25", "75", (10, 90), claims.NOT_CLEAR),
        # An end that is touched.
        ("10", "", (10, 40), claims.NOT_CLEAR),
        ("", "50", (20, 50), claims.NOT_CLEAR),
        ("", "50", (50, 60), claims.NOT_CLEAR),
        ("-0.1", "0", (-0.05, -0.01), claims.HOLDS),
    ],
)
def test_a_verdict_follows_from_the_band_and_the_interval(low, high, ends, expected):
    found = Found(np.mean(ends), *ends, 99, 9)
    assert claims.verdict(claim(low=low, high=high), found) == expected
    # By hand, from points of the interval: all in the band, none, or some.
    points = np.linspace(*ends, 1001)
    inside = (points > float(low or -1e9)) & (points < float(high or 1e9))
    touched = {float(end) for end in (low, high) if end} & set(map(float, ends))
    plain = claims.HOLDS if inside.all() else claims.NOT_CLEAR if inside.any() or touched else claims.FAILS
    assert plain == expected


def test_too_few_models_no_interval_and_no_number_decide_nothing():
    assert claims.verdict(claim(), Found(20, 10, 40, 99, 4)) == claims.TOO_FEW
    assert claims.verdict(claim(), Found(20, 10, 40, 99, 5)) == claims.HOLDS
    assert claims.verdict(claim(least="3"), Found(20, 10, 40, 99, 4)) == claims.HOLDS
    assert claims.verdict(claim(), Found(20, n=99, models=9)) == claims.NO_INTERVAL
    assert claims.verdict(claim(), None) == claims.NO_DATA


def test_a_statement_about_the_models_that_were_counted_needs_no_interval():
    # 3 of 10: less than half of them; of others nothing is known.
    found = Found(30, 10.8, 60.3, 10, 10)
    assert (claims.literally(claim(), found), claims.verdict(claim(), found)) == (claims.TRUE, claims.NOT_CLEAR)
    assert claims.literally(claim(), Found(50)) == claims.FALSE
    assert claims.literally(claim(), Found(0)) == claims.FALSE
    assert claims.literally(claim(), None) == claims.NO_DATA


def test_a_number_that_the_paper_names_is_a_bound_of_its_own():
    bound = claim(bound="at most 20")
    assert claims.bounded(bound, Found(15, 10, 19)) == claims.HOLDS
    assert claims.bounded(bound, Found(25, 10, 32)) == claims.NOT_CLEAR
    assert claims.bounded(bound, Found(40, 22, 58)) == claims.FAILS
    assert claims.bounded(bound, Found(40)) == claims.NO_INTERVAL
    assert claims.bounded(bound, Found(15, 10, 19, 8, 2)) == claims.TOO_FEW
    assert claims.bounded(claim(), Found(40, 22, 58)) == "" == claims.bounded(bound, None)


def test_printed_numbers_of_table_3_decide_nothing_about_other_models():
    decided = claims.decide(claims.read_claims(), {"printed": claims.printed_numbers()})
    found = {row["claim"].name: row["printed"] for row in decided}
    # By hand. Table 1: in most metrics only Llama 7B and Pythia gain 0.05; Qwen 2 7B loses 0.07 of MC2, Llama 2 70B
    # 0.03 of MC1. Tables 4 to 6: only Llama 7B gains 0.05 of MC1 in some setting and not in others. Table 7: with the
    # bias MC2 and MC3 rise for all. Table 2: only Llama 7B gains two points.
    expected = {"fv-default": 20, "fv-search": 52, "fv-search-half": 76, "fv-settings": 32, "tv": 35}
    expected |= {"dola-llama-1": 0.06, "dola-loss": -0.03}
    alone = list(expected)
    expected |= {"dola-truthfulqa": 20, "dola-length": 100, "dola-factor": 10, "dola-settings": 90}
    assert {name: found[name]["found"].value for name in expected} == pytest.approx(expected)
    assert found["dola-truthfulqa"]["found"].n == 10
    for name in alone:
        assert found[name]["verdict"] == claims.NO_INTERVAL, name
    verdicts = [found[name]["verdict"] for name in ("dola-truthfulqa", "dola-length", "dola-factor", "dola-settings")]
    assert verdicts == [claims.NOT_CLEAR, claims.HOLDS, claims.HOLDS, claims.HOLDS]
    assert found["dola-significant"]["why"] == "no test of Table 1 is printed"
    for name in set(NAMES) - set(expected) - {"dola-significant", "architecture"}:
        assert found[name]["found"] is None
        assert found[name]["why"] in (claims.NOT_PRINTED, claims.NOT_LISTED), name


def test_a_claim_without_data_says_why():
    decided = claims.decide(claims.read_claims(), {"ours": numbers(), "release": claims.released_numbers({})})
    assert all(row["ours"]["why"].startswith("there is no ") for row in decided)
    assert {row["release"]["why"] for row in decided} == {claims.NO_RELEASE}
    assert {row["ours"]["verdict"] for row in decided} == {claims.NO_DATA}


def test_release_is_read_as_a_study_and_says_which_figures_it_lacks():
    released = claims.released_numbers({3: table(("FV default", "0.90", 31.0, 25.0, 37.0, 261))})
    [row] = claims.decide([claim()], {"release": released})
    assert row["release"]["found"] == Found(31.0, 25.0, 37.0, 261)
    with pytest.raises(NoDataError, match="the release has no such numbers"):
        released.figure("figure8")


def test_limits_are_the_ends_of_the_interval_and_the_verdict_turns_there():
    found = Found(20, 10, 40, 99, 9)
    one = claim()
    assert limits(one, found) == [("low", 10, 40), ("high", 10, 40)]
    for high, expected in ((9, claims.FAILS), (11, claims.NOT_CLEAR), (39, claims.NOT_CLEAR), (41, claims.HOLDS)):
        assert claims.verdict(claim(high=str(high)), found) == expected
    assert limits(claim(low=""), found) == [("high", 10, 40)]
    assert limits(one, Found(20)) == [] == limits(one, None)


def test_every_value_that_a_claim_lists_is_tried():
    cells = [("FV default", f"{at:.2f}", value, value - 5, value + 5, 9) for at, value in ((0.5, 60), (0.9, 20))]
    given = numbers({3: table(*cells)})
    found, _ = claims.find(claim(), given)
    tried = list(turns(claim(vary="column=0.50; high=22,30"), given, found))
    assert [(turn.changed, turn.found.value, turn.verdict) for turn in tried] == [
        ("column 0.50", 60, claims.FAILS), ("high 22", 20, claims.NOT_CLEAR), ("high 30", 20, claims.HOLDS),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("\tshare_recovered\t", "\tshare_of_all\t", r"line 2, column rule: expected one of .*share_of_all"),
        ("\tat most 20\t", "\tabout 20\t", r"line 2, column bound: expected at most \{number\}, or nothing.*about 20"),
        ("\t0\t50\tat most 20", "\t0\thalf\tat most 20", "line 2, column high: expected a number, or nothing"),
        (
            "row=FV default; column",
            "rows=FV default; column",
            "line 2, column arguments: .*missing a required argument: 'row'",
        ),
        ("\thigh=33,25\t", "\ttop=33,25\t", "line 2, column vary: top is no argument of this claim"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, before, after, said):
    good = (claims.RESOURCES / "claims.tsv").read_text(encoding="utf-8")
    assert before in good
    (tmp_path / "claims.tsv").write_text(good.replace(before, after), encoding="utf-8")
    with pytest.raises(OffcourseError, match=rf"claims\.tsv, {said}"):
        claims.read_claims(tmp_path)
