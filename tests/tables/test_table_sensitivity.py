import pandas as pd
import pytest
from views import view_of, write

from offcourse.claims import sensitivity
from offcourse.claims.sensitivity import SENSITIVITY
from offcourse.schemas.function_vectors import FV_CONTROLS
from offcourse.schemas.io import read_parquet, write_parquet
from offcourse.study.protocol import Protocol
from offcourse.tables import table3
from offcourse.tables.sensitivity import Turned

MODELS, TASKS = ["tiny-0.1b", "middle-27b"], ["antonym", "country-capital", "present-past"]


def test_numbers_are_those_of_table_3_under_either_value(study, tmp_path):
    protocol = Protocol()
    write("sensitivity", study, tmp_path, fv=(MODELS, TASKS))
    frame = read_parquet(tmp_path / "sensitivity.parquet", SENSITIVITY)
    assert set(frame["switch"]) == set(Protocol.model_fields)
    for switch, changed in (("default_heads", "single"), ("selection", "halves")):
        values = []
        for other in (protocol, protocol.model_copy(update={switch: changed})):
            out = tmp_path / other.default_heads / other.selection
            write(
                "table3", study, out, fv=(MODELS, TASKS), default_heads=other.default_heads, selection=other.selection
            )
            cells = pd.read_parquet(out / "table3.parquet")
            cells = cells[cells["unit"] == table3.PERCENT]
            values.append(cells.set_index(["row", "column"])["value"])
        mine = frame[(frame["switch"] == switch) & frame["before"].notna()].set_index(["row", "column"])
        moved = values[0][(values[0] - values[1]).abs() > 1e-9].index
        assert set(moved) == set(mine.index)
        for cell in moved:
            assert mine.loc[cell, ["before", "after"]].tolist() == [values[0][cell], values[1][cell]]
    assert len(moved)
    bos = frame[frame["switch"] == "head_read_position"]
    assert set(bos["change"]) == {"models that add BOS: 1; others: 1"} and len(bos) == 2 * 4
    assert frame[frame["switch"] == "cie_output_bias"]["note"].tolist() == [sensitivity.NO_BIAS]
    lines = (tmp_path / "sensitivity.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(frame)


def test_the_read_position_is_turned_with_the_control_of_the_study(make_study, tmp_path, share):
    """One model adds a BOS. At its other token everything is hit with it, and with the other model nothing."""
    models = {"with-bos": (3, 4, 1e8), "without": (3, 4, 1e8)}
    results = make_study(models=models, tasks=TASKS, n_heads=(2, 16), strengths=(1.0, 4.0))
    for model in models:
        for task in TASKS:
            sweep = pd.read_parquet(results / model / "fv_sweep" / f"{task}.parquet")
            other = sweep.assign(control="read_position", draw=0, hit=model == "with-bos")[list(FV_CONTROLS.columns)]
            write_parquet(results / model / "fv_controls" / f"{task}.parquet", other, FV_CONTROLS)
    adds_bos = {"with-bos": True, "without": False}
    asked = {"fv": (list(models), TASKS), "settings": {"controls": ["read_position"]}, "adds_bos": adds_bos}
    write("sensitivity", results, tmp_path, **asked)
    frame = read_parquet(tmp_path / "sensitivity.parquet", SENSITIVITY)
    assert frame[frame["switch"] == "fv_output_bias"]["note"].tolist() == [sensitivity.NO_BIAS]
    mine = frame[frame["switch"] == "head_read_position"]
    assert set(mine["change"]) == {"models that add BOS: 1; others: 1", "as_coded → last", "as_coded → one_early"}
    assert mine[mine["change"].str.startswith("models")]["note"].str.endswith(sensitivity.TYPED).all()
    by_model = mine[mine["row"].isin(models)].set_index(["row", "change"])
    for model in models:
        best, few = [], []
        for task in TASKS:
            sweep = pd.read_parquet(results / model / "fv_sweep" / f"{task}.parquet")
            best.append(sweep.groupby(["n_heads", "strength", "layer"])["hit"].mean().max())
            few.append(share(results, f"{model}/icl/{task}.parquet", shots=5))
        own = sum(one / other for one, other in zip(best, few, strict=True)) / len(TASKS)
        # As coded, the first model is read one token early and the second at the last.
        all_hit = sum(1 / other for other in few) / len(TASKS)
        at_last, one_early = (all_hit, own) if adds_bos[model] else (own, 0.0)
        for change, turned, alike in (
            ("as_coded → last", at_last, not adds_bos[model]),
            ("as_coded → one_early", one_early, adds_bos[model]),
        ):
            row = by_model.loc[model, change]
            assert row[["before", "after"]].tolist() == pytest.approx([own, turned])
            assert row["note"] == (sensitivity.ALIKE if alike else "")
    # Table 3 under the other value: all three pairs of the first model, and what the second has anyway.
    cells = mine[(mine["table"] == "table3") & (mine["change"] == "as_coded → last")].set_index(["row", "column"])
    before = pd.DataFrame([(cells.loc[cell, "before"], cells.loc[cell, "after"]) for cell in cells.index])
    assert len(cells) and (before[1] > before[0]).all()
    turned = Turned(view_of("sensitivity", results, **asked), adds_bos)
    table = turned.tables(Protocol(head_read_position="last"), (3,))[3].set_index(["row", "column"])["value"]
    for cell in cells.index:
        assert cells.loc[cell, "after"] == table[cell]
    assert table["FV search (count)", "1.00"] >= 3
