"""The claims on the authors' numbers that travel with the repository: what is known of them, and where they turn."""

import numpy as np
import pytest

from offcourse.archive import packed
from offcourse.archive.read_early import read_early
from offcourse.claims import verdicts as claims
from offcourse.claims.turns import turns
from offcourse.data.registry import Registry
from offcourse.report.claims import released_numbers
from offcourse.schemas.io import read_parquet
from offcourse.schemas.results import CELLS

CLAIMS = {one.name: one for one in claims.read_claims()}


@pytest.fixture(scope="module")
def sides() -> dict[str, claims.Numbers]:
    early, given = read_early(Registry.load().models), released_numbers(packed.folder())
    kept = {side: [name for name, its in early.items() if its == side] for side in (False, True)}
    return {"all": given, "last token": given.only(kept[False]), "one early": given.only(kept[True])}


@pytest.mark.parametrize(
    ("name", "side", "expected", "verdict"),
    [
        # Known before these rules, from other code: 97.4 [91, 100], 86.3 [74, 95] and 39.9 [22, 58].
        ("fv-search-half", "last token", (97.4, 91, 100), claims.FAILS),
        ("fv-search", "last token", (86.3, 74, 95), claims.NOT_CLEAR),
        ("fv-default", "last token", (39.9, 22, 58), claims.NOT_CLEAR),
        ("fv-settings", "all", (31.2, 21, 41.5), claims.HOLDS),
        ("post-training-fv", "one early", (0.30, 0.13, 0.47), claims.HOLDS),
        ("post-training-fv", "last token", (0.04, -0.05, 0.13), claims.NOT_CLEAR),
        ("late-spiking", "all", (75, 41, 93), claims.NOT_CLEAR),
        ("apathy", "all", (30, 11, 60), claims.NOT_CLEAR),
        ("from-english", "last token", (5.9, 1, 27), claims.FAILS),
        ("from-english", "one early", (78.9, 57, 91), claims.HOLDS),
    ],
)
def test_what_is_known_of_the_release(sides, name, side, expected, verdict):
    found, _ = claims.find(CLAIMS[name], sides[side])
    unit = 0.005 if "percentage" not in CLAIMS[name].unit else 0.6
    assert (found.value, found.low, found.high) == pytest.approx(expected, abs=unit)
    assert claims.verdict(CLAIMS[name], found) == verdict


def test_shares_counted_pair_by_pair_are_the_cells_of_table_3(sides):
    cells = read_parquet(packed.folder() / "tables" / "table3.parquet", CELLS).set_index(["row", "column"])
    for name in ("fv-default", "fv-search", "fv-search-half", "tv"):
        options = CLAIMS[name].options
        cell, (found, _) = cells.loc[options["row"], options["column"]], claims.find(CLAIMS[name], sides["all"])
        assert (found.value, found.low, found.high) == pytest.approx(tuple(cell[["value", "ci_low", "ci_high"]]))


def test_verdicts_turn_where_the_docs_say(sides):
    def tried(name: str) -> dict:
        found, _ = claims.find(CLAIMS[name], sides["all"])
        return {turn.changed: turn for turn in turns(CLAIMS[name], sides["all"], found)}

    apathy = tried("apathy")
    assert [apathy[f"begun {begun}"].found.value for begun in (0.1, 0.5)] == pytest.approx([30, 50])
    last = tried("late-spiking")["checkpoints last"]
    assert (last.found.value, last.verdict) == (87.5, claims.HOLDS)


def test_every_claim_has_a_verdict_on_three_sides_and_an_interval_wherever_it_has_a_number(sides):
    decided = claims.decide(list(CLAIMS.values()), sides)
    for row in decided:
        for side in sides:
            found, verdict = row[side]["found"], row[side]["verdict"]
            assert verdict in claims.VERDICTS and verdict != claims.NO_INTERVAL
            assert (found is None) == (verdict == claims.NO_DATA) == bool(row[side]["why"])
            if found is not None:
                assert not np.isnan([found.low, found.high]).any()
                assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    # The release draws the mean of ten shots only; no model is missing for any other claim.
    assert [row["claim"].name for row in decided if row["all"]["found"] is None] == ["ten-shot"]
