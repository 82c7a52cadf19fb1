import pandas as pd
import pytest

from offcourse.analysis import results
from offcourse.errors import OffcourseError
from offcourse.schemas.function_vectors import FV_SWEEP, ICL
from offcourse.schemas.io import write_parquet


def test_shots_are_shares_of_hits(tmp_path):
    icl = pd.DataFrame([(k, i, i < 3 * k) for k in (2, 0, 1) for i in range(8)], columns=list(ICL.columns))
    write_parquet(tmp_path / results.icl_path("m", "antonym"), icl, ICL)
    assert results.read_shots(tmp_path, "m", "antonym").to_dict() == {0: 0.0, 1: 3 / 8, 2: 6 / 8}


def test_an_empty_sweep_is_refused(tmp_path):
    kinds = {"n_heads": int, "strength": float, "layer": int, "item": int, "hit": bool}
    empty = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
    write_parquet(tmp_path / results.sweep_path("m", "antonym"), empty, FV_SWEEP)
    with pytest.raises(OffcourseError, match=r"m/fv_sweep/antonym\.parquet holds no setting"):
        results.read_accuracy(tmp_path, "m", "antonym")


def test_results_without_zero_shot_are_refused(tmp_path):
    icl = pd.DataFrame([(5, 0, True)], columns=list(ICL.columns))
    write_parquet(tmp_path / results.icl_path("m", "antonym"), icl, ICL)
    with pytest.raises(OffcourseError, match="no 0-shot item"):
        results.read_shots(tmp_path, "m", "antonym")


def test_a_missing_or_broken_model_record_is_named(tmp_path):
    with pytest.raises(OffcourseError, match=r"m/model\.json"):
        results.read_model(tmp_path, "m")
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.json").write_text("{")
    with pytest.raises(OffcourseError, match="run the workflow again"):
        results.read_model(tmp_path, "m")
