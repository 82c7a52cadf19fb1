"""A result that cannot be read is deleted as its message advises, and the next run makes the result again."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from lab import Lab

from offcourse.analysis import results
from offcourse.errors import OffcourseError

MODEL = "tiny-llama"
# How to read a result, and how its file is spoiled.
READ = {
    "no setting": lambda folder: results.read_sweep(folder, MODEL, "antonym"),
    "no layer": lambda folder: results.read_tv_sweep(folder, MODEL, "present-past"),
    "no layers of DoLa": lambda folder: results.read_premature_layers(folder, MODEL, "misconceptions"),
    "no targets": lambda folder: results.read_targets(folder, MODEL, "antonym", "function_vectors"),
    "no table": lambda folder: results.read_shots(folder, MODEL, "antonym"),
    "no record of a model": lambda folder: results.read_model(folder, MODEL),
}


def emptied(path: Path) -> None:
    pd.read_parquet(path).iloc[:0].to_parquet(path, index=False)


def without_notes(path: Path) -> None:
    frame = pd.read_parquet(path)
    frame.attrs = {}
    frame.to_parquet(path, index=False)


def no_table(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def no_record(path: Path) -> None:
    path.write_text(json.dumps([]))


SPOILED = {
    f"{MODEL}/fv_sweep/antonym.parquet": emptied,
    f"{MODEL}/tv_sweep/present-past.parquet": emptied,
    f"{MODEL}/dola/misconceptions.parquet": without_notes,
    f"{MODEL}/prompts/antonym.parquet": without_notes,
    f"{MODEL}/icl/antonym.parquet": no_table,
    f"{MODEL}/model.json": no_record,
}


def test_every_result_that_is_deleted_as_advised_comes_back(lab: Lab, finished: Lab):
    for path, spoil in SPOILED.items():
        spoil(lab.results / path)
    deleted = []
    for what, read in READ.items():
        with pytest.raises(OffcourseError) as caught:
            read(lab.results)
        said = re.search(r"^(\S+) .*Delete it and run the workflow again\.$", str(caught.value), re.S)
        assert said, (what, caught.value)
        Path(said[1]).unlink()
        deleted.append(Path(said[1]).relative_to(lab.results).as_posix())
    assert sorted(deleted) == sorted(SPOILED)
    done = lab.snakemake()
    assert done.returncode == 0, done.stderr
    for read in READ.values():
        read(lab.results)
    for path in SPOILED:
        if path.endswith(".parquet"):
            assert (lab.results / path).read_bytes() == (finished.results / path).read_bytes()
    assert lab.status()[0] == 0
