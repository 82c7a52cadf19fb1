"""A job's message says where its paths are: `snakemake --directory` runs it in another folder than the reader's."""

import re
from pathlib import Path

import pytest

from offcourse.errors import OffcourseError
from offcourse.run.log import logged


def ended(log: Path, message: str) -> str:
    with pytest.raises(SystemExit) as caught, logged(str(log)):
        raise OffcourseError(message)
    assert log.read_text(encoding="utf-8") == f"{caught.value.code}\n"
    return caught.value.code


@pytest.mark.parametrize("path", ["results/smoke/a.parquet", "resources/downloads/models/a", "below/results/smoke/b"])
def test_the_file_of_an_advice_is_found_from_another_folder(tmp_path, monkeypatch, path):
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    for folder in (work, elsewhere):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text("damaged")
    monkeypatch.chdir(work)
    said = ended(tmp_path / "log", f"{path} is damaged. Delete it and run the workflow again.")
    monkeypatch.chdir(elsewhere)
    named, folder = re.search(r"(\S+) is damaged\. Delete it .*\(Paths are below (.*)\.\)$", said).groups()
    (Path(folder) / named).unlink()
    assert not (work / path).exists() and (elsewhere / path).exists()


@pytest.mark.parametrize(
    "message",
    [
        "Correct `repo` in resources/models.tsv.",
        "/data/results/smoke/a.parquet is damaged. Delete it.",
        "Set OFFCOURSE_MIRROR to a folder.",
    ],
)
def test_a_message_without_a_path_of_the_run_stays_as_it_is(tmp_path, message):
    assert ended(tmp_path / "log", message) == f"offcourse: {message}"
