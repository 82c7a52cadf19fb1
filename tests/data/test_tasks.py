"""Word lists: the project's own pass all checks, the authors' are verified from every source, mistakes are named."""

import hashlib
import http.server
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import threading
import tracemalloc
from functools import partial
from pathlib import Path

import pytest
from marks import needs_mirror

from offcourse.data import release_files
from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.data.tasks import load_pairs, require_enough, split_sizes, word_list_sha256
from offcourse.errors import OffcourseError

REGISTRY = Registry.load()
ANTONYM = REGISTRY.task("antonym")
FOLDER = REGISTRY.sources["steering-off-course"].file
COMMIT = FOLDER.removeprefix("steering-off-course-")
RELEASE_ROWS = {
    "antonym": 2398,
    "present-past": 293,
    "country-capital": 197,
    "english-french": 4698,
    "french-english": 4698,
    "english-german": 5145,
    "german-english": 5145,
    "english-spanish": 5199,
    "spanish-english": 5199,
}


# ------------------------------------------------------------------------------------------------- our own lists


@pytest.mark.parametrize("name", REGISTRY.tasks)
def test_our_lists_have_enough_distinct_pairs(name):
    pairs = load_pairs(REGISTRY.task(name), "embedded")
    assert len(set(pairs)) == len(pairs) >= 150
    assert len({word for word, _ in pairs}) == len(pairs)
    require_enough(REGISTRY.task(name), pairs, 10)


def test_directions_are_reversals_in_file_order():
    there = load_pairs(REGISTRY.task("english-italian"), "embedded")
    back = load_pairs(REGISTRY.task("italian-english"), "embedded")
    assert back == [(answer, word) for word, answer in there]


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Write content with `words.write_bytes`; `tmp_path` is the resources folder."""
    (tmp_path / "words").mkdir()
    return tmp_path / "words" / "antonyms.tsv"


def test_the_advice_about_normal_forms_works(words):
    """The command of the message, as a shell runs it, makes the list one that is read."""
    words.write_text("input\toutput\nbig\te\u0301te\u0301\nnaïve\tX\n", encoding="utf-8")
    with pytest.raises(OffcourseError) as caught:
        load_pairs(ANTONYM, "embedded", words.parents[1])
    command = str(caught.value).partition("brought into it by: ")[2].replace("python3", sys.executable, 1)
    subprocess.run(command, shell=True, check=True)
    assert load_pairs(ANTONYM, "embedded", words.parents[1]) == [("big", "\u00e9t\u00e9"), ("naïve", "X")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("input\toutput\nbig\t\n", "antonyms.tsv, line 2: the entry in column 'output' is empty"),
        ("input\toutput\nbig\tsmall\n\tdown\n", "line 3: the entry in column 'input' is empty"),
        ("input\toutput\nbig\t small\n", "line 2: .* has a space around it: ' small'"),
        ("input\toutput\nbig\tsmall\nbig\tsmall\n", "line 3: 'big' in column 'input' was already on line 2"),
        ("input\toutput\nbig\tsmall\nup\tdown\nbig\tlittle\n", "line 4: 'big' .* line 2"),
        ("input\toutput\nbig\n", "line 2: expected 2 tab-separated cells"),
        ("input\toutput\nbig\tsmall\n\nup\tdown\n", "line 3: expected 2"),
        ("inputs\toutput\nbig\tsmall\n", "no column 'input' .*did you mean 'inputs'"),
        ("", "no column 'input'"),
        # As spreadsheets save them.
        (
            'input\toutput\nbig\t"small, really"\n',
            "line 2: .*'output' has a double quote at its edge",
        ),
        ('"input"\t"output"\nbig\tsmall\n', "no column 'input'"),
        (
            "input\toutput\nbig\t\u200bsmall\n",
            r"line 2: .*'output' has an invisible .* number 1: U\+200B \(ZERO",
        ),
        ("input\toutput\nbig\tsmall\u200d\n", r"line 2: .* number 6: U\+200D"),
        ("input\toutput\nup\tdown\nbi\u00adg\tsmall\n", r"line 3: .*'input' .* number 3: U\+00AD \(SOFT HYPHEN\)"),
        ("input\toutput\nbig\tvery\u00a0small\n", r"line 2: .* number 5: U\+00A0 \(NO-BREAK SPACE\)"),
        ("input\toutput\nbig\tvery\u202fsmall\n", r"U\+202F"),
        ("input\toutput\nbig\tsmall\ufeff\n", r"number 6: U\+FEFF"),
        ("input\toutput\nbig\t\u3164\n", r"number 1: U\+3164 \(HANGUL FILLER\)"),
        ("input\toutput\nbig\tsmall\u2028\n", r"number 6: U\+2028"),
        ("input\toutput\nbig\ta\u0007b\n", r"number 2: U\+0007"),
        ("input\toutput\nbig\te\u0301te\u0301\n", r"line 2: .* not in Unicode's normal form NFC .*'e\\u0301te"),
        ("input\toutput\nfine\tgood\n\ufb01ne\tbad\n", "line 3: .* was already on line 2"),
    ],
)
def test_a_mistake_in_a_list_is_named(words, content, message):
    words.write_text(content, encoding="utf-8")
    with pytest.raises(OffcourseError, match=message):
        load_pairs(ANTONYM, "embedded", words.parents[1])


def test_a_list_of_another_encoding_or_none_is_named(words):
    with pytest.raises(OffcourseError, match="there is no .*antonyms.tsv"):
        load_pairs(ANTONYM, "embedded", words.parents[1])
    words.write_bytes("input\toutput\nété\thiver\n".encode("latin-1"))
    with pytest.raises(OffcourseError, match="antonyms.tsv is not UTF-8"):
        load_pairs(ANTONYM, "embedded", words.parents[1])


def test_an_answer_may_repeat(words):
    words.write_text("input\toutput\nbig\tsmall\nlarge\tsmall\n", encoding="utf-8")
    assert load_pairs(ANTONYM, "embedded", words.parents[1]) == [("big", "small"), ("large", "small")]


@pytest.mark.parametrize("shots", [1, 3, 10, 25])
def test_require_enough_is_exact(shots):
    smallest = next(n for n in range(2, 200) if split_sizes(n)[0] >= shots and min(split_sizes(n)) >= 1)
    require_enough(ANTONYM, [("a", "b")] * smallest, shots)
    with pytest.raises(
        OffcourseError, match=f"antonyms.tsv .*has {smallest - 1} pairs, {shots} shots need at least {smallest}"
    ):
        require_enough(ANTONYM, [("a", "b")] * (smallest - 1), shots)


def test_the_digest_follows_the_tasks_own_columns(tmp_path):
    (tmp_path / "words").mkdir()
    nouns = tmp_path / "words" / "nouns.tsv"
    french, italian = REGISTRY.task("english-french"), REGISTRY.task("english-italian")
    text = (RESOURCES / "words" / "nouns.tsv").read_text(encoding="utf-8")
    nouns.write_text(text, encoding="utf-8")
    before = [word_list_sha256(task, "embedded", tmp_path) for task in (french, italian)]
    header, first, *rest = text.split("\n")
    nouns.write_text("\n".join([header, first + "x", *rest]), encoding="utf-8")  # Italian is the last column
    after = [word_list_sha256(task, "embedded", tmp_path) for task in (french, italian)]
    assert after[0] == before[0] and after[1] != before[1]
    assert word_list_sha256(ANTONYM, "release").startswith("ba66e8e3")  # pinned, no download


# ------------------------------------------------------------------------------------------------- the authors' lists


@pytest.fixture
def small_release(tmp_path, monkeypatch):
    """A release of two short lists, pinned in a resources folder of its own; no mirror, no network."""
    lists = {name: json.dumps([{"output": "b", "input": name}] * 2).encode() for name in ("antonym", "present-past")}
    resources = tmp_path / "resources"
    resources.mkdir()
    for table in ("models", "tasks", "questions", "sources"):
        text = (RESOURCES / f"{table}.tsv").read_text(encoding="utf-8")
        for name, content in lists.items():
            old = next(s.sha256 for s in REGISTRY.sources.values() if s.spec == REGISTRY.task(name).release)
            text = text.replace(old, hashlib.sha256(content).hexdigest())
        (resources / f"{table}.tsv").write_text(text, encoding="utf-8")
    monkeypatch.delenv("OFFCOURSE_MIRROR", raising=False)
    monkeypatch.setattr(release_files, "RAW_URL", "http://127.0.0.1:9")  # the discard port: nobody answers
    release_files._sources.cache_clear()
    yield resources, lists
    release_files._sources.cache_clear()


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def put(folder: Path, lists: dict[str, bytes]) -> None:
    for name, content in lists.items():
        path = folder / REGISTRY.task(name).release
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def pack(archive: Path, lists: dict[str, bytes]) -> None:
    with tarfile.open(archive, "w:xz") as tar:
        for name, content in lists.items():
            member = tarfile.TarInfo(f"{FOLDER}/{REGISTRY.task(name).release}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_a_mirror_is_read_once_and_kept(small_release, tmp_path, monkeypatch, kind):
    resources, lists = small_release
    mirror, downloads = tmp_path / "mirror", tmp_path / "downloads"
    mirror.mkdir()
    put(mirror / FOLDER, lists) if kind == "folder" else pack(
        mirror / f"steering-off-course-{COMMIT[:7]}.tar.xz", lists
    )
    monkeypatch.setenv("OFFCOURSE_MIRROR", str(mirror))
    assert load_pairs(ANTONYM, "release", resources, downloads) == [("antonym", "b")] * 2  # repeats are kept
    monkeypatch.delenv("OFFCOURSE_MIRROR")
    assert load_pairs(ANTONYM, "release", resources, downloads) == [("antonym", "b")] * 2
    if kind == "archive":
        assert load_pairs(REGISTRY.task("present-past"), "release", resources, downloads)


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_a_mirror_with_another_file_is_refused(small_release, tmp_path, monkeypatch, kind):
    resources, lists = small_release
    mirror, downloads = tmp_path / "mirror", tmp_path / "downloads"
    mirror.mkdir()
    lists = {name: content + b" " for name, content in lists.items()}
    put(mirror / FOLDER, lists) if kind == "folder" else pack(
        mirror / f"steering-off-course-{COMMIT[:7]}.tar.xz", lists
    )
    before = files_below(mirror)
    monkeypatch.setenv("OFFCOURSE_MIRROR", str(mirror))
    with pytest.raises(OffcourseError, match="antonym.json has the sha256 .* expected .*Nothing was written"):
        load_pairs(ANTONYM, "release", resources, downloads)
    assert files_below(downloads) == [] and files_below(mirror) == before


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_a_mirrored_file_that_is_too_large_is_refused_before_it_is_read(small_release, tmp_path, monkeypatch, kind):
    resources, _ = small_release
    mirror, lists = tmp_path / "mirror", {"antonym": bytes(100_000_000)}
    mirror.mkdir()
    put(mirror / FOLDER, lists) if kind == "folder" else pack(
        mirror / f"steering-off-course-{COMMIT[:7]}.tar.xz", lists
    )
    monkeypatch.setenv("OFFCOURSE_MIRROR", str(mirror))
    del lists
    tracemalloc.start()
    with pytest.raises(OffcourseError, match=r"antonym.json has 100000000 bytes, expected \d+ .*Nothing was written"):
        load_pairs(ANTONYM, "release", resources, tmp_path / "downloads")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000 and files_below(tmp_path / "downloads") == []


def test_a_damaged_archive_is_named(small_release, tmp_path, monkeypatch):
    resources, _ = small_release
    archive = tmp_path / f"steering-off-course-{COMMIT[:7]}.tar.xz"
    pack(archive, {"english-german": os.urandom(100_000)})
    archive.write_bytes(archive.read_bytes()[:50_000])
    monkeypatch.setenv("OFFCOURSE_MIRROR", str(tmp_path))
    with pytest.raises(OffcourseError, match=r"tar\.xz is damaged"):
        load_pairs(REGISTRY.task("english-french"), "release", resources, tmp_path / "downloads")
    assert files_below(tmp_path / "downloads") == []


def test_a_mirror_that_is_no_folder_is_named(small_release, tmp_path, monkeypatch):
    monkeypatch.setenv("OFFCOURSE_MIRROR", str(tmp_path / "none"))
    with pytest.raises(OffcourseError, match="OFFCOURSE_MIRROR is .*none, which is not a folder"):
        load_pairs(ANTONYM, "release", small_release[0], tmp_path / "downloads")


def test_no_network_says_what_to_do(small_release, tmp_path):
    with pytest.raises(OffcourseError, match=r"cannot download http.*antonym.json .*OFFCOURSE_MIRROR.*data: embedded"):
        load_pairs(ANTONYM, "release", small_release[0], tmp_path / "downloads")
    assert files_below(tmp_path / "downloads") == []


@pytest.fixture
def server(tmp_path):
    """An HTTP server on this machine whose root stands for the authors' repository on the network."""
    root = tmp_path / "server"
    root.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=root)) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield root, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_a_download_is_verified_and_kept(small_release, server, tmp_path, monkeypatch):
    resources, lists = small_release
    put(server[0] / COMMIT, lists)
    monkeypatch.setattr(release_files, "RAW_URL", server[1])
    downloads = tmp_path / "downloads"
    before = os.umask(0o002)
    try:
        assert load_pairs(ANTONYM, "release", resources, downloads) == [("antonym", "b")] * 2
    finally:
        os.umask(before)
    assert files_below(downloads) == [f"release/{ANTONYM.release}"]
    # A group that shares the folder reads the file and may replace it.
    assert stat.S_IMODE((downloads / "release" / ANTONYM.release).stat().st_mode) == 0o664


def test_a_download_with_the_wrong_sha256_leaves_nothing(small_release, server, tmp_path, monkeypatch):
    resources, _ = small_release
    put(server[0] / COMMIT, {"antonym": b"[]"})
    monkeypatch.setattr(release_files, "RAW_URL", server[1])
    with pytest.raises(OffcourseError, match="does not have the sha256 .* was not kept"):
        load_pairs(ANTONYM, "release", resources, tmp_path / "downloads")
    assert files_below(tmp_path / "downloads") == []
    with pytest.raises(OffcourseError, match="cannot download .*HTTPError"):  # not found there
        load_pairs(REGISTRY.task("present-past"), "release", resources, tmp_path / "downloads")


def test_a_kept_file_that_was_changed_is_named_and_not_deleted(small_release, tmp_path):
    put(tmp_path / "downloads" / "release", {"antonym": b"mine"})
    with pytest.raises(OffcourseError, match="antonym.json has the sha256 .*Delete it and run again"):
        load_pairs(ANTONYM, "release", small_release[0], tmp_path / "downloads")
    assert files_below(tmp_path / "downloads") == [f"release/{ANTONYM.release}"]


@pytest.mark.parametrize("call", [load_pairs, word_list_sha256])
def test_a_task_without_release_list_says_so(call):
    with pytest.raises(OffcourseError, match="no word list .*italian-english; use data: embedded"):
        call(REGISTRY.task("italian-english"), "release", RESOURCES)


@needs_mirror
def test_the_authors_lists_have_the_known_sizes(tmp_path_factory):
    downloads = tmp_path_factory.mktemp("downloads")
    sizes = {name: len(load_pairs(REGISTRY.task(name), "release", downloads=downloads)) for name in RELEASE_ROWS}
    assert sizes == RELEASE_ROWS
    german = load_pairs(REGISTRY.task("german-english"), "release", downloads=downloads)
    assert ("mäßig\n", "moderate") in german  # kept as it is
