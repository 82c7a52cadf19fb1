"""`offcourse.share` on a step that runs the model in several precisions: each is held against its own rounding."""

import labs
import numpy as np
import pytest

from offcourse.data.registry import Registry
from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.schemas.io import read_parquet
from offcourse.share.differences import OPEN, differences
from offcourse.share.merge import merge
from offcourse.share.verify import BEYOND, SAME, WITHIN, verify
from offcourse.store.sealed_json import read_sealed
from offcourse.store.shards import ShardStore

STEP = "caa_precisions"
CHANGES = {
    "methods": ["function_vectors", "caa"],
    "caa": {"pairs": 3, "shots": 2, "strengths": [60], "passages": 2, "precisions": ["bfloat16"]},
}


@pytest.fixture(scope="module")
def study():
    return labs.study(**CHANGES)


@pytest.fixture(scope="module")
def mine(empty, study, tmp_path_factory):
    """A lab that ran the study."""
    base = labs.copy(empty, tmp_path_factory.mktemp("precisions") / "mine")
    labs.run(base, study)
    return base


def verified(base, study):
    verdicts, _ = verify(study, Registry.load(), Layout("one", base), 99, 0)
    return {verdict.shard.step: verdict for verdict in verdicts if verdict.shard.step == STEP}[STEP]


def changed(base, change):
    """Let the shard hold other numbers, with a note that fits them."""
    store = ShardStore(Layout("one", base).store)
    [note] = [path for path in store.folder.rglob("*.json") if read_sealed(path)["parts"]["step"] == STEP]
    content = read_sealed(note)
    frame = change(read_parquet(note.with_suffix(".parquet"), STEPS[STEP].schema))
    store.put(content["parts"], ".parquet", lambda path: frame.to_parquet(path, index=False), content["made"])


def of_half(frame, **columns):
    """The table with other values in the rows of bfloat16."""
    half = frame["precision"] == "bfloat16"
    return frame.assign(**{name: frame[name].where(~half, change(frame[name])) for name, change in columns.items()})


def test_each_precision_is_held_against_the_rounding_of_its_own(mine, study, tmp_path):
    assert verified(mine, study).agrees == SAME
    for number, (change, agrees) in enumerate(
        (
            # Half a step of bfloat16 on the states moves a cosine of 1 by about its square.
            (lambda frame: of_half(frame, cosine=lambda values: values - 2e-6), WITHIN),
            (lambda frame: of_half(frame, cosine=lambda values: values * 0.99), BEYOND),
            # The study's own precision has no such freedom.
            (lambda frame: frame.assign(cosine=frame["cosine"] - 2e-6), BEYOND),
            (
                lambda frame: frame.assign(hit=np.where(frame["precision"] == "float32", ~frame["hit"], frame["hit"])),
                BEYOND,
            ),
        )
    ):
        base = labs.copy(mine, tmp_path / str(number))
        changed(base, change)
        found = verified(base, study)
        assert found.agrees == agrees, (number, found.distance, found.floor)
        assert all(name.endswith(("(float32)", "(bfloat16)")) for name in found.distance)


def test_a_lab_that_rounds_otherwise_agrees_in_each_precision(mine, study, tmp_path):
    """It has this lab's vectors, and a machine that moves bfloat16 by more than float32 could."""
    other = labs.copy(mine, tmp_path / "other")
    for note in list(ShardStore(Layout("one", other).store).folder.rglob("*.json")):
        if read_sealed(note)["parts"]["step"] == STEP:
            ShardStore(note.parents[1]).drop(note.stem, ".parquet")
    labs.run_on_another_card(other, study)
    found = verified(other, study)
    assert found.agrees == WITHIN, (found.distance, found.floor)
    assert found.distance["cosine (bfloat16)"] > 1e-7 and "cosine (float32)" not in found.distance
    here = Layout("", labs.copy(mine, tmp_path / "mine"))
    merge([labs.packed(other, tmp_path / "other.tar.gz", study)], here)
    # The files state a floor of the study's own precision, which says nothing of bfloat16.
    assert [(each.result.step, each.verdict) for each in differences(here)] == [(STEP, OPEN)]
