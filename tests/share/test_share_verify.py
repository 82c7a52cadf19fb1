"""`offcourse.share.verify`: the real steps on the tiny model, against shards as they were and others."""

import labs
import numpy as np
import pytest

from offcourse.data.registry import Registry
from offcourse.engine import checks
from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.schemas.io import read_parquet
from offcourse.share import distance
from offcourse.share.verify import BEYOND, SAME, WITHIN, verify
from offcourse.store.sealed_json import read_sealed
from offcourse.store.shards import ShardStore

KINDS = ["prompts", "icl", "head_means", "cie", "function_vectors", "fv_sweep", "dola"]


def verified(base, sample=99, seed=1):
    verdicts, known = verify(labs.study(), Registry.load(), Layout("one", base), sample, seed)
    return {verdict.shard.step: verdict for verdict in verdicts}, known


def test_shards_that_are_as_they_were_agree_bit_for_bit(ran):
    found, known = verified(ran)
    assert {step: verdict.agrees for step, verdict in found.items()} == dict.fromkeys(KINDS, SAME) and known == 7


def changed(base, step, change):
    """Let the shard of a step hold other numbers, with a note that fits them: a forgery that hashes do not find."""
    store = ShardStore(Layout("one", base).store)
    [note] = [path for path in store.folder.rglob("*.json") if read_sealed(path)["parts"]["step"] == step]
    suffix, content = STEPS[step].suffix, read_sealed(note)
    frame = change(read_parquet(note.with_suffix(suffix), STEPS[step].schema))
    store.put(content["parts"], suffix, lambda path: frame.to_parquet(path, index=False), content["made"])


@pytest.mark.parametrize(
    ("step", "change", "agrees"),
    [
        ("cie", lambda frame: frame.assign(effect=frame["effect"] * np.float32(1.02)), BEYOND),
        ("cie", lambda frame: frame.assign(effect=frame["effect"] * np.float32(1 + 2e-7)), WITHIN),
        ("fv_sweep", lambda frame: frame.assign(hit=~frame["hit"]), BEYOND),
        ("dola", lambda frame: frame.iloc[:-1], BEYOND),
    ],
)
def test_other_numbers_are_beyond_the_floor_or_within_it(ran, tmp_path, step, change, agrees):
    base = labs.copy(ran, tmp_path / "forged")
    changed(base, step, change)
    found, _ = verified(base)
    assert found[step].agrees == agrees


def test_the_limit_is_that_of_the_engine_s_checks():
    assert distance.TIMES_FLOOR == checks.TIMES_FLOOR


def test_a_damaged_shard_does_not_agree(ran, tmp_path):
    base = labs.copy(ran, tmp_path / "damaged")
    store = ShardStore(Layout("one", base).store)
    notes = {read_sealed(note)["parts"]["step"]: note for note in store.folder.rglob("*.json")}
    notes["cie"].write_text("{")
    notes["icl"].with_suffix(".parquet").unlink()
    notes["dola"].with_suffix(".parquet").write_bytes(b"PAR1")
    found, _ = verified(base)
    wrong = {step: verdict.why for step, verdict in found.items() if verdict.agrees == BEYOND}
    assert wrong.keys() == {"cie", "icl", "dola"}
    assert "cannot be read" in wrong["cie"] and "is missing" in wrong["icl"] and "differs from" in wrong["dola"]


def test_a_draw_is_repeated_by_its_seed_and_another_seed_draws_others(ran):
    drawn = [list(verified(ran, sample=1, seed=seed)[0]) for seed in (5, 5, 0, 1)]
    assert drawn[0] == drawn[1] and any(each != drawn[0] for each in drawn)


def test_without_a_model_or_a_shard_nothing_is_verified(empty, tmp_path):
    with pytest.raises(OffcourseError, match=r"has no shard that this checkout would make for study one"):
        verified(empty)
    with pytest.raises(OffcourseError, match=r"model tiny-llama is not prepared in .* results/one/tiny-llama/manifest"):
        verified(tmp_path)
