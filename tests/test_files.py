"""Files are written whole or not at all, whichever library writes them."""

import os
import stat

import pytest
import small_disk

from offcourse.errors import OffcourseError
from offcourse.files import write_json, write_whole

CODE = """
import sys
import numpy as np, pandas as pd
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models
from offcourse.files import write_whole
from offcourse.errors import OffcourseError

numbers = np.random.default_rng(0).random(5000)
frame = pd.DataFrame({{"a": numbers}})
tokenizer = Tokenizer(models.WordLevel({{str(i): i for i in range(5000)}}))
limit_files(2000)
try:
    write_whole("target{suffix}", lambda path: {write})
except OffcourseError as error:
    sys.exit(f"offcourse: {{error}}")
"""


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".parquet", "frame.to_parquet(path, index=False)"),
        (".safetensors", "save_file({'a': numbers}, path)"),
        (".json", "tokenizer.save(str(path))"),
        (".txt", "path.write_text('x' * 5000)"),
    ],
)
def test_a_disk_that_becomes_full_is_one_message_and_the_old_file_stays(tmp_path, suffix, write):
    target = tmp_path / f"target{suffix}"
    target.write_text("old")
    done = small_disk.run(CODE.format(suffix=suffix, write=write), tmp_path)
    assert done.stderr == (
        f"offcourse: cannot write target{suffix}: File too large. Nothing was changed; make room or permit writing, "
        "then run the same command again.\n"
    )
    assert done.returncode == 1
    assert small_disk.files(tmp_path) == {target: b"old"}


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path):
    (tmp_path / "results").write_text("a file where a folder should be")
    with pytest.raises(OffcourseError, match=r"cannot write .*results/table\.json"):
        write_json(tmp_path / "results" / "table.json", {})


def test_an_error_of_the_code_is_not_blamed_on_the_disk(tmp_path):
    def wrong(path):
        raise ValueError("two columns called a")

    with pytest.raises(ValueError, match="two columns called a"):
        write_whole(tmp_path / "table.csv", wrong)
    assert small_disk.files(tmp_path) == {}


@pytest.mark.parametrize("umask", [0o002, 0o027], ids=oct)
def test_a_written_file_has_the_mode_of_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_json(tmp_path / "results" / "table.json", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "results").stat().st_mode) == 0o777 & ~umask
    assert stat.S_IMODE((tmp_path / "results" / "table.json").stat().st_mode) == 0o666 & ~umask
