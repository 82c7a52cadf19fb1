"""An audit reads every byte of a prepared model, whatever its times say, and in threads of its own."""

import json
import shutil
from pathlib import Path

import pytest

from offcourse.audit.hashing import BLOCK, Hashing, begun
from offcourse.files import sha256, write_json
from offcourse.models.manifest import MANIFEST, changes, digest_of, note

# More than one block, none, and less than one.
CONTENT = {"model.safetensors": bytes(BLOCK) + b"the end", "config.json": b"{}", "empty": b""}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A prepared folder whose files were hashed, which `seen.json` says."""
    for name, content in CONTENT.items():
        (tmp_path / name).write_bytes(content)
    files = {name: sha256(tmp_path / name) for name in CONTENT}
    (tmp_path / MANIFEST).write_text(json.dumps({"digest": digest_of(files), "files": files}), encoding="utf-8")
    note(tmp_path, files, files)
    return tmp_path


def files_of(folder: Path) -> dict[str, str]:
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("begun", [True, False])
def test_a_changed_byte_is_found_though_the_file_is_noted_as_it_is_now(folder, begun):
    """As after a disk that changed a bit: size, times and inode are those of the last hashing."""
    flip(folder / "model.safetensors")
    files = files_of(folder)
    note(folder, files, files)
    assert changes(folder) == {}
    hashing = Hashing()
    hashing.begin([folder] if begun else [])
    assert hashing.wrong(folder, files, ()) == {"model.safetensors": "not what was prepared"}
    assert hashing.wrong(folder, files, {"model.safetensors"}) == {}


def test_a_file_that_is_written_to_after_it_was_hashed_is_hashed_again(folder):
    hashing, path = Hashing(), folder / "model.safetensors"
    hashing.begin([folder])
    assert {name: hashing.digest(folder / name) for name in CONTENT} == files_of(folder)
    flip(path)
    assert hashing.digest(path) == sha256(path) != files_of(folder)[path.name]
    path.unlink()
    assert hashing.digest(path) is None


def test_a_folder_without_a_sound_manifest_is_left_to_the_audit(folder):
    (folder / MANIFEST).write_text("{", encoding="utf-8")
    hashing = Hashing()
    hashing.begin([folder, folder / "nowhere"])
    assert hashing.digest(folder / "config.json") == sha256(folder / "config.json")


def test_what_was_stopped_half_way_is_hashed_when_it_is_asked_for(folder):
    hashing = Hashing()
    hashing.close()
    hashing.begin([folder])
    assert {name: hashing.digest(folder / name) for name in CONTENT} == files_of(folder)


def test_the_models_behind_a_table_are_those_that_its_record_says(folder, tmp_path_factory):
    lab = tmp_path_factory.mktemp("lab")
    records, model = lab / "results" / "one" / "provenance", lab / "resources" / "downloads" / "models" / "m"
    shutil.copytree(folder, model)
    config = lab / "config.yaml"
    config.write_text("study: one\n")
    record = {"outputs": {"results/one/tables/table1.csv": ""}, "inputs": {"results/one/m/dola/a.parquet": ""}}
    write_json(records / "tables_dola.json", record)
    paths = {model / name for name in CONTENT}
    assert set(begun(config, lab, "table1")._begun) == paths
    assert not begun(config, lab, "table10")._begun and not begun(config, lab, "table")._begun
    for spoiled in ("{", '{"outputs": 3}', "[]"):
        (records / "a.json").write_text(spoiled)
        assert not begun(config, lab, "table1")._begun
    assert not begun(lab / "gone.yaml", lab, "table1")._begun
