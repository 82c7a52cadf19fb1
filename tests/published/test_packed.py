"""The numbers that travel with the repository: whole, checked, and those that the authors' files give."""

import shutil
from dataclasses import replace

import pandas as pd
import pytest

from offcourse.archive import packed as files
from offcourse.archive.manifest import MANIFEST
from offcourse.data.names import RESOURCES
from offcourse.errors import OffcourseError
from offcourse.graph.release import Release
from offcourse.graph.release_rules import CONVERTED, NAME
from offcourse.layout import Layout
from offcourse.published import packed

LIMIT = 6 * 2**20  # bytes of the whole folder


def test_the_folder_is_small_and_every_file_in_it_is_listed_and_whole():
    folder = files.folder()
    there = {path for path in folder.rglob("*") if path.is_file() and path.suffix in (".parquet", ".tsv")}
    assert there == {*files.converted(), *files.shown(), folder / files.DIGESTS}
    assert sum(path.stat().st_size for path in there) < LIMIT
    assert [why for path in there if (why := files.damage(path))] == []


def test_every_table_of_the_release_is_packed_and_no_text_is():
    release = Release(Layout(NAME))
    for group in CONVERTED:
        expected = sorted(release.results_of(group))
        found = [
            (made.step, release.folder(name), made.unit)
            for name in release.names(group)
            for made in packed.tables(release, group, name)
        ]
        assert sorted(found) == expected, group
    texts = {
        (path.name, name): set(column.unique())
        for path in files.converted()
        if path.name != files.ORIGINS
        for name, column in pd.read_parquet(path).select_dtypes("str").items()
    }
    assert max(len(word) for words in texts.values() for word in words) <= len("mistral-7b-instruct-v0.3") + 8


@pytest.fixture
def mine(tmp_path):
    """A release with packed files of its own, which may be damaged."""
    folder = shutil.copytree(RESOURCES, tmp_path / "resources", ignore=shutil.ignore_patterns("downloads"))
    return replace(Release(Layout(NAME)), resources=folder)


def test_a_changed_or_missing_file_is_refused_by_name(mine):
    path = mine.resources / files.FOLDER / "tv_sweep.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(OffcourseError, match=r"tv_sweep\.parquet: it has the sha256 .* expected"):
        list(packed.tables(mine, "task_vectors", "gptj-6b"))
    path.unlink()
    with pytest.raises(OffcourseError, match=r"tv_sweep\.parquet: the file is gone"):
        list(packed.tables(mine, "task_vectors", "gptj-6b"))


def test_a_manifest_with_another_file_is_refused(mine):
    table = mine.resources / MANIFEST
    spec = "icl_task_vectors/"
    lines = table.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(spec) and "gptj_6b" in line)
    lines[at] = lines[at][:-64] + "0" * 64
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(OffcourseError, match=f"was made from a .*gptj_6b.* that {MANIFEST} does not list"):
        list(packed.tables(mine, "task_vectors", "gptj-6b"))
