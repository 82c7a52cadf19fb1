"""The store: whole shards or none, damage noticed, nothing shared with the copies that users see."""

import errno
import json

import pytest

from offcourse.errors import OffcourseError
from offcourse.files import write_whole
from offcourse.store.shards import ShardStore, copy_whole, digest

PARTS = {"step": "cie", "inputs": {"prompts": "ab"}}


def put(store, text="content"):
    return store.put(PARTS, ".txt", lambda path: path.write_text(text))


def test_a_shard_is_found_again(tmp_path):
    store = ShardStore(tmp_path)
    assert store.find(digest(PARTS), ".txt") is None
    path = put(store)
    assert ShardStore(tmp_path).find(digest(PARTS), ".txt") == path
    assert path.read_text() == "content"
    assert json.loads(path.with_suffix(".json").read_text())["parts"] == PARTS


def test_the_key_does_not_depend_on_the_order_of_its_parts():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})


@pytest.mark.parametrize("damage", ["artefact changed", "artefact gone", "note unreadable", "note cut"])
def test_a_damaged_shard_counts_as_missing_and_is_said(tmp_path, capsys, damage):
    store = ShardStore(tmp_path)
    path = put(store)
    note = path.with_suffix(".json")
    match damage:
        case "artefact changed":
            path.write_text("Content")
        case "artefact gone":
            path.unlink()
        case "note unreadable":
            note.write_bytes(b"\xff\xfe")
        case "note cut":
            note.write_text(note.read_text()[:20])
    assert store.find(digest(PARTS), ".txt") is None
    assert str(path) in capsys.readouterr().err
    put(store)
    assert store.find(digest(PARTS), ".txt") == path


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    def full(path):
        path.write_text("half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OffcourseError, match="No space left on device"):
        ShardStore(tmp_path).put(PARTS, ".txt", full)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_interrupt_leaves_nothing_behind_and_the_old_file_in_place(tmp_path):
    target = tmp_path / "table.txt"
    target.write_text("old")

    def interrupted(path):
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(target, interrupted)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_copy_is_not_the_shard(tmp_path):
    path = put(ShardStore(tmp_path / "store"))
    copy = tmp_path / "copy.txt"
    copy_whole(path, copy)
    copy.write_text("damaged")
    assert path.read_text() == "content"
