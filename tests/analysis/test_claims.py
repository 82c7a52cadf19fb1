import numpy as np
import pandas as pd
import pytest

from offcourse.analysis import claims
from offcourse.errors import OffcourseError

NAMES = [
    "fv-default", "fv-search", "fv-settings", "tv", "dola-truthfulqa", "dola-length", "dola-factor",
    "localisation", "post-training", "late-spiking", "apathy",
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
    # By hand from Table 3; in Table 1 only Llama 7B gains 0.05, in Table 2 only Llama 7B two points, and in Table 7 the
    # bias falls short of DoLa for the two Llama 70B alone.
    expected = dict(zip(NAMES[:7], [20, 28, 29, 35, 10, 80, 10], strict=True))
    assert {name: found[name]["found"].value for name in NAMES[:7]} == pytest.approx(expected)
    assert found["dola-truthfulqa"]["found"].n == 10
    assert found["fv-search"]["verdict"] == claims.HOLDS
    # 8 of 10 models: the Wilson interval begins at 49 %.
    assert found["dola-length"]["verdict"] == claims.NOT_CLEAR
    for name in NAMES[7:]:
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
        claims.cell(empty, "3", "FV default", "0.90")


def test_gains_leave_out_the_quoted_row_and_models_with_one_side():
    frame = table(
        ("a* (q)", "base", 1.0, 0, 0, 1), ("a* (q)", "DoLa", 9.0, 0, 0, 1),
        ("b (q)", "base", 0.26, 0, 0, 1), ("b (q)", "DoLa", 0.32, 0, 0, 1),
        ("c (q)", "base", 0.26, 0, 0, 1), ("c (q)", "DoLa", 0.20, 0, 0, 1),
        ("d (q)", "base", 0.26, 0, 0, 1),
    )  # fmt: skip
    found = claims.share_that_gains(numbers({1: frame}), "1", "0.06", **{"from": "base", "to": "DoLa"})
    assert (found.value, found.n) == (50.0, 2)


def test_release_is_read_as_a_study_without_figures():
    released = claims.released_numbers({3: table(("TV", "0.90", 31.0, 25.0, 37.0, 261))})
    assert claims.cell(released, "3", "TV", "0.90") == claims.Found(31.0, 25.0, 37.0, 261)
    with pytest.raises(claims.NoDataError, match="the release has no such numbers"):
        claims.share_with_a_stir(released)


def test_few_heads():
    rows = [("few", 0, head, 1.0 if head == 0 else 0.001 if head < 50 else -3.0) for head in range(100)]
    rows += [("many", 0, head, 1.0) for head in range(100)]
    frame = pd.DataFrame(rows, columns=["model", "layer", "head", "effect"])
    found = claims.share_with_few_heads(numbers(figures={"figure9": frame}), "0.02", "0.5")
    assert (found.value, found.n) == (50.0, 2)


def lens(model: str, correct: list[float], top: list[float]) -> list[tuple]:
    lines = (("correct", correct), ("top", top))
    return [(model, "q", layer, line, value) for line, means in lines for layer, value in enumerate(means)]


def test_late_rise_and_stir():
    rows = lens("late", [0, 0, 0, 0.1, 0.8], [0.1, 0.1, 0.2, 0.3, 0.9])
    rows += lens("early", [0, 0.5, 0.6, 0.7, 0.8], [0.1, 0.8, 0.9, 0.9, 0.9])
    figure2 = pd.DataFrame(rows, columns=["model", "questions", "layer", "line", "mean"])
    blocks = [("late", "q", layer, line, value) for line in ("mha", "mlp") for layer, value in enumerate([1, 1, 1, 0])]
    blocks += [("early", "q", layer, "mha", 0.5) for layer in range(4)]
    figure8 = pd.DataFrame(blocks, columns=["model", "questions", "layer", "line", "scaled"])
    given = numbers(figures={"figure2": figure2, "figure8": figure8})
    # "late" reaches half of 0.8 at state 4 of 4, after block 3; "early" at state 1, after block 0.
    assert claims.share_with_late_rise(given, "0.75").value == 50.0
    assert claims.share_with_late_rise(given, "0.1").value == 100.0
    assert claims.share_with_a_stir(given).value == 50.0


def test_change_after_post_training():
    frame = pd.DataFrame({"change": [0.1, 0.2, 0.3, np.nan], "pairs": [2, 2, 2, 0]})
    found = claims.mean_change(numbers(figures={"figure16": frame}))
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2 - 1.96 * 0.1 / 3**0.5)


def test_a_wrong_line_is_named(tmp_path):
    good = (claims.RESOURCES / "claims.tsv").read_text(encoding="utf-8")
    (tmp_path / "claims.tsv").write_text(good.replace("\tmean_change\t", "\tmean_chance\t"), encoding="utf-8")
    with pytest.raises(OffcourseError, match=r"claims\.tsv, line 10, column rule: expected one of .*mean_chance"):
        claims.read_claims(tmp_path)
