"""Fetching the release: files are fetched and checked, and a missing or altered file is named in one message."""

import io
import shutil
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from offcourse.archive import manifest as archive
from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.data.release_files import release_path
from offcourse.errors import OffcourseError
from offcourse.graph.release import Release
from offcourse.graph.release_rules import NAME
from offcourse.layout import Layout

FOLDER = Registry.load().sources["steering-off-course"].file
FILES = {"one.json": b"{}", "a/two.csv": b"x\n1\n"}


@pytest.fixture
def resources(tmp_path, monkeypatch):
    """The project's tables with a manifest of two small files; OFFCOURSE_MIRROR is an empty folder."""
    folder = tmp_path / "resources"
    folder.mkdir()
    for table in ("models.tsv", "tasks.tsv", "questions.tsv", "sources.tsv"):
        shutil.copy(RESOURCES / table, folder)
    rows = [f"{path}\t{len(content)}\t{archive.sha256(content).hexdigest()}" for path, content in FILES.items()]
    (folder / archive.MANIFEST).write_text("\n".join(["path\tbytes\tsha256", *rows]) + "\n")
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("OFFCOURSE_MIRROR", str(tmp_path / "mirror"))
    return folder


def pack(tmp_path: Path, files: dict[str, bytes]) -> Path:
    path = tmp_path / "mirror" / f"steering-off-course-{FOLDER.rsplit('-', 1)[1][:7]}.tar.xz"
    with tarfile.open(path, "w:xz") as out:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(content)
            out.addfile(member, io.BytesIO(content))
    return path


def test_files_come_from_the_archive_or_its_folder_once(resources, tmp_path):
    packed = pack(tmp_path, FILES | {"code.py": b"print()"})
    downloads = tmp_path / "downloads"
    archive.fetch_release(resources, downloads)
    assert archive.fetched(downloads).read_text().count("\n") == 2
    assert not release_path("code.py", downloads).exists()  # not in the manifest
    packed.unlink()
    release_path("one.json", downloads).unlink()
    (tmp_path / "mirror" / FOLDER).mkdir()
    (tmp_path / "mirror" / FOLDER / "one.json").write_bytes(FILES["one.json"])
    archive.fetch_release(resources, downloads)  # the other file is there already
    assert release_path("one.json", downloads).read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"one.json": b"{}"}, "lacks 1 of the 2 released files, such as a/two.csv"),
        (FILES | {"a/two.csv": b"x\n2\n"}, "a/two.csv has the sha256 .*, expected .*It was not kept"),
    ],
)
def test_an_archive_that_is_not_the_release_is_refused(resources, tmp_path, files, message):
    pack(tmp_path, files)
    with pytest.raises(OffcourseError, match=message):
        archive.fetch_release(resources, tmp_path / "downloads")
    assert not archive.fetched(tmp_path / "downloads").exists()
    assert not release_path("a/two.csv", tmp_path / "downloads").exists()


def write_folder(folder: Path) -> None:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def test_a_mirror_one_folder_too_deep_is_one_message(resources, tmp_path, monkeypatch):
    outer = tmp_path / "mirror" / FOLDER
    write_folder(outer / FOLDER)
    message = (
        rf"{outer} lacks 2 of the 2 released files, such as a/two.csv, which is in {FOLDER} there: move its content"
    )
    with pytest.raises(OffcourseError, match=message):
        archive.fetch_release(resources, tmp_path / "downloads")
    # The advice, followed.
    (outer / FOLDER).rename(tmp_path / "moved")
    outer.rmdir()
    (tmp_path / "moved").rename(outer)
    monkeypatch.setenv("OFFCOURSE_MIRROR", str(outer))
    with pytest.raises(OffcourseError, match=rf"{FOLDER}, which holds the released files themselves. Set it to"):
        archive.fetch_release(resources, tmp_path / "downloads")
    monkeypatch.setenv("OFFCOURSE_MIRROR", str(outer.parent))
    archive.fetch_release(resources, tmp_path / "downloads")
    assert archive.fetched(tmp_path / "downloads").exists()


def test_an_archive_with_none_of_the_files_is_refused(resources, tmp_path):
    pack(tmp_path, {f"{FOLDER}/{name}": content for name, content in FILES.items()})
    with pytest.raises(OffcourseError, match="lacks 2 of the 2 released files, such as a/two.csv"):
        archive.fetch_release(resources, tmp_path / "downloads")


def test_a_file_of_another_size_is_refused_before_it_is_read(resources, tmp_path):
    bomb = bytes(100_000_000)
    pack(tmp_path, FILES | {"a/two.csv": bomb})
    del bomb
    tracemalloc.start()
    with pytest.raises(OffcourseError, match=r"a/two.csv has 100000000 bytes, expected 4 .*It was not kept"):
        archive.fetch_release(resources, tmp_path / "downloads")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000
    next((tmp_path / "mirror").iterdir()).unlink()
    write_folder(tmp_path / "mirror" / FOLDER)
    (tmp_path / "mirror" / FOLDER / "a" / "two.csv").write_bytes(b"x\n12\n")
    with pytest.raises(OffcourseError, match=r"a/two.csv has 5 bytes, expected 4"):
        archive.fetch_release(resources, tmp_path / "downloads")


def test_a_file_that_an_archive_holds_twice_is_taken_once(resources, tmp_path):
    path = pack(tmp_path, FILES)
    with tarfile.open(path, "w:xz") as out:
        for name in (*FILES, "one.json"):
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(FILES[name])
            out.addfile(member, io.BytesIO(FILES[name]))
    archive.fetch_release(resources, tmp_path / "downloads")
    assert release_path("one.json", tmp_path / "downloads").read_bytes() == b"{}"


def test_a_damaged_archive_is_refused(resources, tmp_path):
    path = pack(tmp_path, FILES)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(OffcourseError, match="is damaged"):
        archive.fetch_release(resources, tmp_path / "downloads")


def test_a_file_is_checked_each_time_it_is_read(resources, tmp_path):
    pack(tmp_path, FILES)
    downloads, manifest = tmp_path / "downloads", archive.read_manifest(resources)
    archive.fetch_release(resources, downloads)
    assert archive.read_released("one.json", manifest, downloads) == b"{}"
    release_path("one.json", downloads).write_bytes(b"[]")
    with pytest.raises(OffcourseError, match="one.json has the sha256 .*it was changed or damaged. Delete it"):
        archive.read_released("one.json", manifest, downloads)
    release_path("one.json", downloads).unlink()
    with pytest.raises(OffcourseError, match="the released file .*one.json is missing. Delete .*checked.tsv and run"):
        archive.read_released("one.json", manifest, downloads)
    with pytest.raises(OffcourseError, match=r"code.py is not in release-manifest.tsv"):
        archive.read_released("code.py", manifest, downloads)


def test_a_manifest_that_is_none_is_refused(resources):
    (resources / archive.MANIFEST).write_text("path\tsha256\none.json\tabc\n")
    with pytest.raises(OffcourseError, match="is not the list of released files"):
        archive.read_manifest(resources)


def test_the_manifest_agrees_with_the_sources():
    manifest = archive.read_manifest()
    rows = [row for row in Registry.load().sources.values() if row.kind == "release"]
    assert len(manifest) == 901 and len(rows) >= 21
    assert all(manifest[row.spec].sha256 == row.sha256 for row in rows)


def test_every_table_has_a_place_of_its_own():
    release = Release(Layout(NAME))
    paths = [path for group in ("dola", "task_vectors", "function_vectors") for path in release.outputs(group)]
    assert len(paths) == len(set(paths)) == 2 * (30 + 29 * 9 * 2 + 331 * 2 + 1)
    assert Path("results/published/gpt-j-6b/fv_sweep/antonym.parquet") in paths
