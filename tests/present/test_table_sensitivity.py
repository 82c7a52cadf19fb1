import pandas as pd

from offcourse.analysis.sensitivity import SENSITIVITY
from offcourse.artefacts import read_parquet
from offcourse.present import tables
from offcourse.present.table_sensitivity import Results, write
from offcourse.study.protocol import Protocol

MODELS, TASKS = ["tiny-0.1b", "middle-27b"], ["antonym", "country-capital", "present-past"]


def test_numbers_are_those_of_table_3_under_either_value(study, tmp_path):
    protocol = Protocol()
    write(
        Results(study, (MODELS, TASKS), ((), ()), {}, ((), ())),
        protocol,
        {"tiny-0.1b": False, "middle-27b": True},
        tmp_path,
    )
    frame = read_parquet(tmp_path / "sensitivity.parquet", SENSITIVITY)
    assert set(frame["switch"]) == set(Protocol.model_fields)
    for switch, changed in (("default_heads", "single"), ("selection", "halves")):
        values = []
        for other in (protocol, protocol.model_copy(update={switch: changed})):
            out = tmp_path / other.default_heads / other.selection
            tables.table3(study, MODELS, TASKS, other.default_heads, out, selection=other.selection)
            cells = pd.read_parquet(out / "table3.parquet")
            cells = cells[cells["unit"] == tables.PERCENT]
            values.append(cells.set_index(["row", "column"])["value"])
        mine = frame[(frame["switch"] == switch) & frame["before"].notna()].set_index(["row", "column"])
        moved = values[0][(values[0] - values[1]).abs() > 1e-9].index
        assert set(moved) == set(mine.index)
        for cell in moved:
            assert mine.loc[cell, ["before", "after"]].tolist() == [values[0][cell], values[1][cell]]
    assert len(moved)
    bos = frame[frame["switch"] == "head_read_position"]
    assert set(bos["change"]) == {"1 models add BOS, 1 do not"} and len(bos) == 2 * 4
    lines = (tmp_path / "sensitivity.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(frame)
