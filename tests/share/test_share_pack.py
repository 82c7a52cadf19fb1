"""`offcourse.share.pack`: what an archive holds, that it is the same each time, and that it names nobody."""

import base64
import getpass
import json
import platform
import shutil
from pathlib import Path

import labs
import pandas as pd
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.files import sha256
from offcourse.graph.keys import steps_of
from offcourse.layout import Layout
from offcourse.provenance.sharing import MARK
from offcourse.share.pack import pack
from offcourse.share.private import Search, private_names
from offcourse.store.sealed_json import read_sealed, write_sealed

NAMES = {
    "node-17b": "the name of a machine",
    "jsmith": "the name of an account",
    "Jörg Schmidt": "the name of a person",
    "/home/jsmith/study": "a folder of this machine",
}


def test_an_archive_holds_shards_records_and_a_manifest_of_them(ran, archive):
    files = labs.files_of(archive)
    assert next(iter(files)) == "manifest.json" and list(files)[1:] == sorted(list(files)[1:])
    said = json.loads(files["manifest.json"])
    assert said["members"].keys() == files.keys() - {"manifest.json"}
    assert {each["step"] for each in said["results"]} == set(steps_of(labs.study()))
    shards = {name: content for name, content in files.items() if name.startswith("store/")}
    assert len(shards) == 14
    for name, content in shards.items():
        if not name.endswith(".json"):
            assert content == (ran / "results" / name).read_bytes()


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.zst"])
def test_packing_twice_gives_the_same_bytes(ran, tmp_path, suffix):
    """Also from a copy of the folder elsewhere, with other times."""
    one = labs.packed(ran, tmp_path / f"one{suffix}")
    moved = shutil.copytree(ran, tmp_path / "moved", symlinks=True, copy_function=shutil.copyfile)
    assert sha256(one) == sha256(labs.packed(moved, tmp_path / f"other{suffix}"))


def test_another_kind_of_archive_is_refused(ran, tmp_path):
    with pytest.raises(OffcourseError, match=r"one\.zip: the name of an archive ends with \.tar, \.tar\.gz"):
        labs.packed(ran, tmp_path / "one.zip")


def test_a_machine_that_the_study_names_is_a_digest_in_the_archive(ran, tmp_path):
    base = labs.copy(ran, tmp_path / "named")
    for path in (base / "results").rglob("*.json"):
        note = read_sealed(path)
        write_sealed(path, note | {"made": note["made"] | {"host": "node-17b.lab.example"}})
    files = labs.files_of(labs.packed(base, tmp_path / "one.tar.gz"))
    assert not any(b"node-17b" in content for content in files.values())
    hosts = {json.loads(text)["made"]["host"] for name, text in files.items() if name.startswith("records/")}
    assert len(hosts) == 1 and hosts.pop().startswith(MARK)


def written(tmp_path: Path, kind: str, text: str) -> Path:
    path = tmp_path / f"file.{kind}"
    match kind:
        case "parquet":
            pd.DataFrame({"word": ["big", f"a {text}"]}).to_parquet(path)
        case "png":
            notes = PngInfo()
            notes.add_text("Author", f"by {text}", zip=True)
            Image.new("L", (2, 2)).save(path, pnginfo=notes)
        case "html":
            path.write_text(
                f'<img src="data:image/svg+xml;base64,{base64.b64encode(f"<!-- {text} -->".encode()).decode()}">'
            )
        case "json":
            path.write_text(json.dumps({"a": [f"on {text}, twice"]}))
        case _:
            path.write_text(f"x: ({text})\n")
    return path


FOUND = {
    **NAMES,
    "someone@lab.example.org": "an e-mail address",
    "/scratch/others/model": "a path of a machine",
    "C:\\Users\\someone": "a path of a machine",
}


@pytest.mark.parametrize("kind", ["yaml", "json", "html", "parquet", "png"])
@pytest.mark.parametrize("text", FOUND)
def test_a_private_name_is_found_wherever_it_is(tmp_path, kind, text):
    path = written(tmp_path, kind, text)
    with pytest.raises(OffcourseError, match=FOUND[text]) as error:
        Search(NAMES).refuse(f"ro-crate/{path.name}", path)
    assert f"ro-crate/{path.name} holds" in str(error.value) and "Nothing was written" in str(error.value)


def test_an_allowed_word_and_words_that_only_hold_a_name_are_no_private_names(tmp_path):
    for kind in ("yaml", "json", "parquet", "png", "html"):
        for text in ("jsmithson", "a node-17bis", "W3C://home", "resources/home/x", "https://x.org/home/x", "a@b"):
            Search(NAMES).refuse("a", written(tmp_path, kind, text))
    Search(NAMES, ["jsmith"]).refuse("a", written(tmp_path, "yaml", "jsmith"))
    with pytest.raises(OffcourseError, match="holds jsmith, the name of an account"):
        Search(NAMES).refuse("records/jsmith.json", written(tmp_path, "yaml", "nothing"))


def test_the_names_of_this_machine_are_known(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "abcdef0123")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "disabled")
    names = private_names(tmp_path, ["node7.lab.example"])
    assert {"node7.lab.example", "node7", str(tmp_path), str(Path.home()), "abcdef0123"} <= names.keys()
    assert platform.node() in names and (getpass.getuser() in names or getpass.getuser() == "root")
    assert not {"disabled", "root"} & names.keys()
    with pytest.raises(OffcourseError, match=r"a holds the value of SOME_TOKEN\."):
        Search(names).refuse("a", written(tmp_path, "yaml", "abcdef0123"))


def test_a_private_name_in_a_result_stops_the_packing(ran, tmp_path, monkeypatch):
    monkeypatch.setenv("LOGNAME", "misconceptions")
    with pytest.raises(OffcourseError, match=r"misconceptions, the name of an account.* --allow misconceptions\."):
        labs.packed(ran, tmp_path / "one.tar.gz")
    assert list(tmp_path.iterdir()) == []
    pack(labs.study(), Registry.load(), Layout("one", ran), tmp_path / "one.tar.gz", ["misconceptions"])


def test_an_unfinished_or_damaged_study_is_not_packed(ran, tmp_path):
    base, out = labs.copy(ran, tmp_path / "mine"), tmp_path / "one.tar.gz"
    layout = Layout("one", base)
    cie = layout.artefact("cie", ".parquet", labs.MODEL, labs.TASK)
    content = cie.read_bytes()
    cie.write_bytes(content[:-1])
    with pytest.raises(OffcourseError, match=r"cie/present-past\.parquet, its record and its shard do not have"):
        labs.packed(base, out)
    cie.unlink()
    with pytest.raises(OffcourseError, match=r"study one is not finished: 1 files of results are missing, the first"):
        labs.packed(base, out)
    cie.write_bytes(content)
    key = read_sealed(layout.record("cie", labs.MODEL, labs.TASK))["key"]
    (layout.store / key[:2] / f"{key}.parquet").unlink()
    with pytest.raises(OffcourseError, match=rf"{key}\.parquet is missing\. Nothing was written\. Run the workflow"):
        labs.packed(base, out)
    assert not out.exists()
