from typing import get_args

import numpy as np
import pandas as pd
import pytest

from offcourse.analysis.sources import PERCENT
from offcourse.claims import sensitivity as module
from offcourse.claims import verdicts as claims
from offcourse.schemas.results import as_cells
from offcourse.study.protocol import Protocol


def cells(**values) -> pd.DataFrame:
    """Table 3 with one column; an interval of 5 points around each value."""
    rows = [
        (row.replace("_", " "), "0.90", value, 8, value - 5, value + 5, PERCENT, "[]") for row, value in values.items()
    ]
    return as_cells(rows)


def make(protocol: Protocol, wanted, without=()) -> dict[int, pd.DataFrame]:
    """Only the denominator of task vectors matters here, and whether a model is left out."""
    tv = 30.0 if protocol.tv_denominator == "previous_model" else 70.0
    return {3: cells(FV_default=20.0, TV=tv - 10 * len(without))} if 3 in wanted else {}


def test_every_switch_is_listed_and_only_what_moves_has_numbers():
    frame = module.sensitivity(make, Protocol(), module.Limits())
    assert set(frame["switch"]) == set(Protocol.model_fields)
    moved = frame[frame["before"].notna()]
    assert moved.drop(columns="note").to_numpy().tolist() == [
        [
            "tv_denominator",
            "previous_model → own",
            "table3",
            "TV",
            "0.90",
            *(30.0, 25.0, 35.0),
            *(70.0, 65.0, 75.0),
            "tv: holds → does not hold",
        ]
    ]
    notes = frame.drop_duplicates(["switch", "note"]).set_index("switch")["note"]
    assert frame[frame["switch"] == "head_read_position"]["change"].tolist() == [
        "as_coded → last", "as_coded → one_early",
    ]  # fmt: skip
    for switch in set(Protocol.model_fields) - set(module.TURNED) - set(module.NOTES):
        assert notes[switch] == module.RERUN
    assert notes["tv_score"] == module.NOTHING
    assert notes["length_bias"] == "no number of Tables 1 to 3: only the base model with a length bias (Table 7)"
    assert notes["ties"] == module.NOT_HERE


def test_a_study_of_the_other_protocol_is_turned_the_other_way():
    frame = module.sensitivity(make, Protocol.base("corrected"), module.Limits()).set_index("switch")
    assert frame.loc["tv_denominator", "change"] == "own → previous_model"
    assert frame.loc["tv_denominator", ["before", "after"]].tolist() == [70.0, 30.0]
    for switch, field in Protocol.model_fields.items():
        changes = frame.loc[[switch], "change"]
        assert {value for change in changes for value in change.split(" → ")} == set(get_args(field.annotation))
        assert len(changes) == len(get_args(field.annotation)) - 1


def test_what_results_do_not_allow_is_said():
    limits = module.Limits(cannot={"tv_denominator": {3: "not released"}}, output_bias=False)
    frame = module.sensitivity(make, Protocol(), limits).set_index("switch")
    assert frame.loc["tv_denominator", ["table", "note"]].tolist() == ["table3", "not released"]
    assert np.isnan(frame.loc["tv_denominator", "after"])
    assert frame.loc["cie_output_bias", "note"] == frame.loc["fv_output_bias", "note"] == module.NO_BIAS


def test_models_that_cannot_be_turned_are_left_out_on_both_sides():
    limits = module.Limits(without={"tv_denominator": ["a"]})
    row = module.sensitivity(make, Protocol(), limits).set_index("switch").loc["tv_denominator"]
    assert row[["before", "after", "note"]].tolist() == [20.0, 60.0, "without a"]


def test_a_switch_of_the_models_is_turned_where_there_is_a_control():
    def both(protocol, wanted, without=()):
        return {3: cells(FV_search=60.0 if protocol.head_read_position == "as_coded" else 90.0)} if 3 in wanted else {}

    limits = module.Limits(turned=module.TURNED | {"head_read_position": (3,)})
    rows = module.sensitivity(both, Protocol(), limits).set_index("switch").loc["head_read_position"]
    assert rows["change"].tolist() == ["as_coded → last", "as_coded → one_early"]
    for row in rows.to_dict("records"):
        assert (row["row"], row["before"], row["after"]) == ("FV search", 60.0, 90.0)
        assert row["claims"] == "fv-search: holds → does not hold"


def test_peak_recovery_at_both_read_positions_stands_side_by_side():
    columns = ["model", "task", "search", "few_shot"]
    own = pd.DataFrame(
        [("a", "x", 0.2, 0.4), ("a", "y", 0.3, 0.4), ("a", "z", 0.1, 0.0), ("b", "x", 0.4, 0.4)], columns=columns
    )
    other = pd.DataFrame(
        [("b", "x", 0.4, 0.4), ("a", "y", 0.4, 0.4), ("a", "x", 0.4, 0.4), ("a", "z", 0.9, 0.0)], columns=columns
    )
    frame = module.by_read_position(own, other, ["b"], "as_coded → last").set_index("row")
    assert frame.loc["a", ["column", "before", "after", "note"]].tolist() == [
        "peak recovery, mean of 2 tasks", pytest.approx(0.625), pytest.approx(1.0), "",
    ]  # fmt: skip
    assert frame.loc["b", ["before", "after", "note"]].tolist() == [1.0, 1.0, module.ALIKE]


def test_rounding_of_sums_is_no_move():
    def nearly(protocol, wanted, without):
        return {3: cells(TV=0.1 + 0.2 if protocol.tv_score == "dev" else 0.3)} if 3 in wanted else {}

    assert module.sensitivity(nearly, Protocol(), module.Limits())["before"].isna().all()


@pytest.mark.parametrize("checked", [True, False])
def test_claims_are_judged_on_models_with_a_bos_and_on_the_others(checked):
    """The same rule on either group's cells: both verdicts stand beside the numbers, at the cell that they rest on."""
    groups = cells(FV_default=20.0, FV_search=48.0), cells(FV_default=52.0, FV_search=90.0)
    frame = module.by_bos(tuple({3: each} for each in groups), (19, 17), claims.read_claims(), checked)
    assert set(frame["change"]) == {"models that add BOS: 19; others: 17"}
    found = frame.set_index(["row", "column"])
    assert found.loc["FV search", "0.90"][["before", "after"]].tolist() == [48.0, 90.0]
    judged = found.loc["FV search", "0.90"]["claims"].split("; ")
    assert "fv-search: holds (with BOS), does not hold (without)" in judged
    assert found.loc["FV default", "0.90"]["claims"] == "fv-default: holds (with BOS), not clear (without)"
    assert all(note.endswith(module.ASKED if checked else module.TYPED) for note in frame["note"])


def test_a_group_without_models_has_no_number_and_no_verdict():
    none = cells(FV_default=np.nan, FV_search=np.nan)
    frame = module.by_bos(({3: cells(FV_default=20.0, FV_search=48.0)}, {3: none}), (3, 0), claims.read_claims(), True)
    found = frame.set_index("row")
    assert found["after"].isna().all() and found["before"].tolist() == [20.0, 48.0]
    assert found.loc["FV default", "claims"] == "fv-default: holds (with BOS), no data (without)"


NAMES = ("FV_default", "FV_search")


def test_a_difference_is_judged_pair_by_pair():
    """Of Table 3 alone a difference of two cells has no interval; its pairs give one."""

    def side(default: list[float], search: list[float]) -> dict:
        pairs = [
            (method, f"model {number}", task, peak, 1.0)
            for method, peaks in (("FV default", default), ("FV search", search))
            for number, peak in enumerate(peaks)
            for task in "abcd"
        ]
        frame = pd.DataFrame(pairs, columns=["method", "model", "task", "peak", "few_shot"])
        shares = {name: 100 * np.mean(np.array(its) >= 0.9) for name, its in zip(NAMES, (default, search), strict=True)}
        return {3: cells(**shares), module.PAIRS: frame}

    sides = side([0.0] * 6, [1.0] * 6), side([0.5] * 6, [0.5] * 6)
    found = module.by_bos(sides, (6, 6), claims.read_claims(), True).set_index(["row", "column"])
    judged = found.loc["FV search", "0.90"]["claims"].split("; ")
    assert "fv-settings: holds (with BOS), not clear (without)" in judged
    alone = module.by_bos(tuple({3: each[3]} for each in sides), (6, 6), claims.read_claims(), True)
    assert "fv-settings: no interval (with BOS), no interval (without)" in "; ".join(alone["claims"])
