"""`offcourse.share`: archives that a stranger, a bad disk or another version made, each refused with one message."""

import gzip
import hashlib
import json
import os
import tarfile

import labs
import pyarrow as pa
import pytest
from labs import again, of, sealed

from offcourse.errors import OffcourseError
from offcourse.layout import Layout
from offcourse.share.merge import merge


@pytest.fixture(scope="module")
def files(archive):
    return labs.files_of(archive)


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def refused(tmp_path, archive, message):
    """The message of a refusal; the folder is as it was, whatever was unpacked before."""
    base = tmp_path / "lab"
    (base / "results" / "store").mkdir(parents=True, exist_ok=True)
    with pytest.raises(OffcourseError, match=message) as error:
        merge([archive], Layout("", base))
    assert archive.name in str(error.value) and "\n" not in str(error.value)
    assert [path.name for path in base.rglob("*")] == ["results", "store"]
    return str(error.value)


CLIMBING = ["../evil", "/tmp/evil", "store/../../evil", "store//evil", "store\\evil", ".hidden/evil", "store/ab/.evil"]


@pytest.mark.parametrize("name", CLIMBING)
def test_a_path_that_climbs_is_refused_in_the_archive_and_in_its_manifest(files, tmp_path, name):
    refused(tmp_path, labs.written(tmp_path / "a.tar.gz", files | {name: b"evil"}), "which its manifest does not name")
    refused(tmp_path, labs.written(tmp_path / "b.tar.gz", again(files, {name: b"evil"})), "is no path of an archive")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "info",
    [
        special("store/link", tarfile.SYMTYPE, "/etc/passwd"),
        special("store/link", tarfile.LNKTYPE, "manifest.json"),
        special("store/pipe", tarfile.FIFOTYPE),
        special("store/device", tarfile.CHRTYPE),
        special("store/folder", tarfile.DIRTYPE),
        special("store/sparse", tarfile.GNUTYPE_SPARSE),
    ],
    ids=["link", "hard link", "pipe", "device", "folder", "sparse"],
)
def test_what_is_no_plain_file_is_refused(files, tmp_path, info):
    refused(tmp_path, labs.written(tmp_path / "a.tar.gz", files, (info,)), "which is no plain file|damaged or cut")


def test_a_link_in_the_place_of_a_file_is_refused(files, tmp_path):
    name = of(files, "cie")
    rest = {path: content for path, content in files.items() if path != name}
    link = special(name, tarfile.SYMTYPE, "/etc/passwd")
    refused(tmp_path, labs.written(tmp_path / "a.tar.gz", rest, (link,)), "which is no plain file")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.zst"])
def test_a_truncated_archive_is_refused(archive, tmp_path, share, kind):
    # A tar file ends with empty blocks, without which nothing is lost.
    plain = gzip.decompress(archive.read_bytes()).rstrip(b"\0")
    content = {"tar": plain, "tar.gz": archive.read_bytes()}.get(kind) or pa.Codec("zstd").compress(plain).to_pybytes()
    cut = tmp_path / f"cut.{kind}"
    cut.write_bytes(content[: int(len(content) * share)])
    refused(tmp_path, cut, "cut short|does not begin with manifest.json")


def test_a_changed_byte_is_refused(files, tmp_path):
    name = of(files, "cie", ".parquet")
    content = bytearray(files[name])
    content[len(content) // 2] ^= 1
    refused(tmp_path, labs.written(tmp_path / "a.tar.gz", files | {name: bytes(content)}), "not have the sha256")


def test_a_member_that_is_missing_doubled_or_not_named_is_refused(files, tmp_path):
    name = of(files, "cie")
    rest = {path: content for path, content in files.items() if path != name}
    refused(tmp_path, labs.written(tmp_path / "a.tar.gz", rest), f"lacks 1 of .* the first is {name}")
    double = tarfile.TarInfo(name)
    refused(tmp_path, labs.written(tmp_path / "b.tar.gz", files, (double,)), "twice")
    refused(tmp_path, labs.written(tmp_path / "c.tar.gz", files | {"store/x": b""}), "which its manifest does not name")
    refused(
        tmp_path, labs.written(tmp_path / "d.tar.gz", again(rest)), f"{name} belongs to no result, or a result lacks"
    )
    refused(tmp_path, labs.written(tmp_path / "e.tar.gz", again(files, {"store/x": b""})), "store/x belongs to no")
    refused(tmp_path, labs.written(tmp_path / "f.tar.gz", again(files, {"records/x": b""})), "records/x belongs to no")


def test_a_huge_member_is_refused_before_it_is_read(files, tmp_path):
    """A terabyte that the manifest names, one that it does not, and a header that says so."""
    name = of(files, "cie", ".parquet")
    said = json.loads(files["manifest.json"])
    said["members"][name]["size"] = 10**15
    honest = files | {"manifest.json": sealed(said)}
    refused(tmp_path, labs.written(tmp_path / "a.tar.gz", honest), "has room for .* make room")
    refused(tmp_path, labs.written(tmp_path / "b.tar.gz", files | {name: bytes(10**6)}), "the manifest says")
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        info = tarfile.TarInfo("header")
        info.type, info.size = kind, 200 * 2**20
        stream = info.tobuf(tarfile.GNU_FORMAT) + bytes(64 * 2**20)
        bomb = tmp_path / "bomb.tar.gz"
        bomb.write_bytes(gzip.compress(stream, 1))
        refused(tmp_path, bomb, "holds a header that no archive")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format_is_refused(files, tmp_path, version):
    manifest = {"manifest.json": sealed(json.loads(files["manifest.json"]) | {"format": version})}
    refused(tmp_path, labs.written(tmp_path / "a.tar.gz", files | manifest), r"has format .* reads format 1.* Use the")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"format": 1}', b"\xff\xfe", b"[" * 10**5])
def test_another_manifest_is_refused(files, tmp_path, content):
    refused(tmp_path, labs.written(tmp_path / "a.tar.gz", files | {"manifest.json": content}), "manifest.json")


def test_another_file_is_refused(tmp_path):
    for name, content in (("text", b"no archive at all " * 2000), ("zst", b"\x28\xb5\x2f\xfd" + bytes(100))):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path, tmp_path / name, "damaged or cut short")
    refused(tmp_path, tmp_path / "nothing", "cannot be read: No such file")
    refused(tmp_path, tmp_path, "cannot be read: Is a directory")


def test_what_follows_an_archive_is_refused(archive, tmp_path):
    longer = tmp_path / "longer.tar.gz"
    longer.write_bytes(gzip.compress(gzip.decompress(archive.read_bytes()) + b"more" * 1000))
    refused(tmp_path, longer, "goes on behind its last file")


def forged(files, step, change) -> dict:
    """Files whose hashes all fit, with another note of one shard."""
    name = of(files, step)
    return again(files, {name: sealed(change(json.loads(files[name])))})


def test_a_shard_whose_key_does_not_give_its_content_is_refused(files, tmp_path):
    def parameters(note):
        return note | {"parts": note["parts"] | {"parameters": {"n_heads": [3]}}}

    archive = labs.written(tmp_path / "a.tar.gz", forged(files, "cie", parameters))
    refused(tmp_path, archive, r"store/\S+\.parquet: its key is not the digest of what")
    # The content of another shard, whose sha256 the manifest has, and the note has not.
    swapped = again(files, {of(files, "icl", ".parquet"): files[of(files, "cie", ".parquet")]})
    refused(
        tmp_path, labs.written(tmp_path / "b.tar.gz", swapped), r"store/\S+\.parquet is not the content whose sha256"
    )


def test_a_shard_under_the_name_of_another_result_is_refused(files, tmp_path):
    said = json.loads(files["manifest.json"])["results"]
    for one, other in (("step", "icl"), ("unit", "antonym")):
        results = [entry | {one: other} if entry["step"] == "cie" else entry for entry in said]
        message = "its manifest says otherwise|belongs to no result"
        refused(tmp_path, labs.written(tmp_path / "a.tar.gz", again(files, results=results)), message)
    results = [entry | {"step": "no_such_step"} for entry in said]
    refused(tmp_path, labs.written(tmp_path / "b.tar.gz", again(files, results=results)), "a step 'no_such_step'")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda note: note | {"made": None}, "does not say how it was made"),
        (lambda note: note | {"made": note["made"] | {"seconds": "1"}}, "does not say how it was made"),
        (lambda note: note | {"made": note["made"] | {"host": "node7"}}, "names a machine by its name"),
        (lambda note: note | {"made": note["made"] | {"host": "salted:0"}}, "say different things of its making"),
        (lambda note: note | {"sha256": "0" * 64}, "is not the content whose sha256"),
    ],
)
def test_a_note_that_does_not_say_what_it_must_is_refused(files, tmp_path, change, message):
    refused(tmp_path, labs.written(tmp_path / "a.tar.gz", forged(files, "cie", change)), message)


def test_a_result_that_is_not_what_its_step_writes_is_refused(files, tmp_path):
    """Its hashes, its note and its record all fit, as those of a forger who took pains."""
    for step, ending, content in (("cie", ".parquet", b"PAR1"), ("head_means", ".safetensors", b"\x08")):
        name = of(files, step, ending)
        sha = hashlib.sha256(content).hexdigest()
        note = sealed(json.loads(files[of(files, step)]) | {"sha256": sha})
        other = again(files, {name: content, of(files, step): note})
        refused(tmp_path, labs.written(tmp_path / "a.tar.gz", other), "is not the table|cannot be read as safetensors")


def test_one_bad_archive_keeps_the_good_ones_out(files, archive, tmp_path):
    bad = labs.written(tmp_path / "bad.tar.gz", files | {"store/x": b""})
    base = tmp_path / "lab"
    with pytest.raises(OffcourseError, match=r"bad\.tar\.gz"):
        merge([archive, bad], Layout("", base))
    assert os.listdir(base / "results") == []


def test_a_disk_that_refuses_is_one_message(archive, tmp_path):
    (tmp_path / "results").write_text("a file where a folder should be")
    with pytest.raises(OffcourseError, match=r"cannot write .*results/others"):
        merge([archive], Layout("", tmp_path))
