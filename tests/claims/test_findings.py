"""The tracked tables of the finding: read whole or refused, and the numbers that sentences are made of."""

import shutil

import pytest

from offcourse.analysis.off_by_one import SILENT
from offcourse.claims.findings import FILES, FOLDER, read_findings
from offcourse.data.names import RESOURCES
from offcourse.errors import OffcourseError
from offcourse.published.findings import write_finding


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(RESOURCES / FOLDER, tmp_path / FOLDER)


def test_the_tables_are_what_is_written_and_read(folder):
    found = read_findings(folder)
    for (name, _), frame in zip(FILES.items(), (found.recovery, found.by_bos, found.runs), strict=True):
        before = (folder / name).read_bytes()
        write_finding(folder / name, frame)
        assert (folder / name).read_bytes() == before


def test_the_release_has_19_models_with_a_bos_and_17_without():
    found = read_findings(RESOURCES / FOLDER)
    assert (found.count(True), found.count(False)) == (19, 17)
    for bos in (True, False):
        mine = [row.recovery for row in found.recovery.itertuples() if row.adds_bos == bos]
        assert found.mean(bos) == pytest.approx(sum(mine) / len(mine))
    assert set(found.telling["verdict"]) <= set(found.runs["verdict"]) - {SILENT}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "spoil",
    [lambda text: text.split("\n", 1)[1], lambda text: text.replace("\t", ","), lambda text: ""],
    ids=["no header", "commas", "empty"],
)
def test_a_damaged_table_is_refused_by_name(folder, name, spoil):
    path = folder / name
    path.write_text(spoil(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(OffcourseError, match=f"{name} is not the table that was expected.*make findings"):
        read_findings(folder)


def test_a_missing_table_is_refused_by_name(folder):
    (folder / "by-bos.tsv").unlink()
    with pytest.raises(OffcourseError, match=r"by-bos\.tsv is not the table"):
        read_findings(folder)
