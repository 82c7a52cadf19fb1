"""A result that cannot be read is deleted as its message advises, and the next run makes the result again."""

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
    "no layers of DoLa": lambda folder: results.read_premature_layers(folder, MODEL, "misconceptions"),
    "no table": lambda folder: results.read_tv_sweep(folder, MODEL, "present-past"),
}


def emptied(path: Path) -> None:
    pd.read_parquet(path).iloc[:0].to_parquet(path, index=False)


def without_notes(path: Path) -> None:
    frame = pd.read_parquet(path)
    frame.attrs = {}
    frame.to_parquet(path, index=False)


def no_table(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


SPOILED = {
    f"{MODEL}/fv_sweep/antonym.parquet": emptied,
    f"{MODEL}/dola/misconceptions.parquet": without_notes,
    f"{MODEL}/tv_sweep/present-past.parquet": no_table,
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
    # The rest of the run would draw every figure anew.
    done = lab.snakemake(*(f"results/smoke/{path}" for path in deleted))
    assert done.returncode == 0, done.stderr
    for read in READ.values():
        read(lab.results)
    for path in SPOILED:
        assert (lab.results / path).read_bytes() == (finished.results / path).read_bytes()
