"""Word lists of the tasks: the project's own (`embedded`) or the authors' (`release`), each checked before use."""

import hashlib
import json
import lzma
import math
import os
import tarfile
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import pooch
import requests

from offcourse.artefacts import sha256, write_whole
from offcourse.errors import OffcourseError, did_you_mean
from offcourse.registry import ARCHIVE, RESOURCES, Registry, Source, Task, read_tsv

RAW_URL = "https://raw.githubusercontent.com/patqdasilva/steering-off-course"

Pairs = list[tuple[str, str]]


def load_pairs(task: Task, data: str, resources: Path = RESOURCES, downloads: Path = Path("downloads")) -> Pairs:
    """The (input, output) pairs of a task in file order.

    data: `embedded`, a column pair of a file in `resources/words`, or `release`, the authors' list, byte for byte: it
    is taken from the folder OFFCOURSE_MIRROR or the network, and kept below `downloads/release`.
    Raises `OffcourseError` for a file that is missing, damaged, not UTF-8, or (embedded) has an empty, padded or
    repeated entry.
    """
    if data == "release":
        rows = json.loads(release_file(task, resources, downloads).read_text(encoding="utf-8"))
        return [(row["input"], row["output"]) for row in rows]
    return _embedded(task, Path(resources) / "words" / task.words)


def word_list_sha256(task: Task, data: str, resources: Path = RESOURCES, downloads: Path = Path("downloads")) -> str:
    """A digest that changes exactly when the pairs of this task do.

    release: the pinned sha256 of the file, known without a download. embedded: that of the task's own two columns,
    since several tasks share a file.
    """
    if data == "release":
        return release_source(task, resources).sha256
    pairs = load_pairs(task, data, resources, downloads)
    return hashlib.sha256("".join(f"{word}\t{answer}\n" for word, answer in pairs).encode()).hexdigest()


def _embedded(task: Task, path: Path) -> Pairs:
    table = read_tsv(path)
    for column in (task.input_column, task.output_column):
        if column not in table:
            raise OffcourseError(f"{path} has no column {column!r} (task {task.name}); {did_you_mean(column, table)}")
    pairs = list(zip(table[task.input_column], table[task.output_column], strict=True))
    first_line: dict[str, int] = {}
    for line, pair in enumerate(pairs, start=2):
        for column, word in zip((task.input_column, task.output_column), pair, strict=True):
            if not word or word != word.strip():
                what = "is empty" if not word.strip() else f"has a space around it: {word!r}"
                raise OffcourseError(f"{path}, line {line}: the entry in column {column!r} {what}")
        if pair[0] in first_line:
            raise OffcourseError(
                f"{path}, line {line}: {pair[0]!r} in column {task.input_column!r} was already on line "
                f"{first_line[pair[0]]}; keep one of the two"
            )
        first_line[pair[0]] = line
    return pairs


def split_sizes(rows: int) -> tuple[int, int, int]:
    """Sizes of the train, valid and test parts of a list of `rows` pairs, as scikit-learn rounds them."""
    held_out = math.ceil(0.3 * rows)
    valid = math.ceil(0.3 * held_out)
    return rows - held_out, valid, held_out - valid


def require_enough(task: Task, pairs: Iterable, shots: int) -> None:
    """Raise `OffcourseError` unless the split of `pairs` has a demonstration for each shot, a query and a test word."""
    has = len(list(pairs))
    needs = next(n for n in range(2, 2 * shots + 10) if split_sizes(n)[0] >= shots and min(split_sizes(n)) >= 1)
    if has < needs:
        raise OffcourseError(
            f"too few words in {task.words} for task {task.name}: it has {has} pairs, {shots} shots need at least "
            f"{needs} (70 % of them are demonstrations). Use fewer shots or a longer list."
        )


@lru_cache
def _sources(resources: Path) -> dict[str, Source]:
    return {source.spec: source for source in Registry.load(resources).sources.values()}


def release_source(task: Task, resources: Path = RESOURCES) -> Source:
    """The row of sources.tsv for the authors' list. Raises `OffcourseError` for a task that they have none for."""
    if not task.release:
        raise OffcourseError(
            f"the authors released no word list for function vectors of task {task.name}; use data: embedded, or leave "
            "the task out"
        )
    return _sources(Path(resources))[task.release]


def release_path(task: Task, resources: Path = RESOURCES, downloads: Path = Path("downloads")) -> Path:
    """Where the authors' list is kept once it was fetched."""
    return Path(downloads) / "release" / release_source(task, resources).spec


def release_file(task: Task, resources: Path = RESOURCES, downloads: Path = Path("downloads")) -> Path:
    """Path of the authors' list, fetched when needed, its sha256 verified."""
    source = release_source(task, resources)
    sources = _sources(Path(resources))
    commit = next(row.file.removeprefix(f"{ARCHIVE}-") for row in sources.values() if row.name == ARCHIVE)
    path = release_path(task, resources, downloads)
    if not path.exists():
        lists = [row for row in sources.values() if row.kind == "release"]
        if not _from_mirror(source, lists, commit, path):
            _from_network(source, f"{RAW_URL}/{commit}/{source.spec}", path)
    if sha256(path) != source.sha256:
        raise OffcourseError(
            f"{path} has the sha256 {sha256(path)}, expected {source.sha256}: it was changed or damaged. Delete it and "
            "run again to fetch it anew."
        )
    return path


def _from_mirror(source: Source, lists: list[Source], commit: str, path: Path) -> bool:
    """Copy a list from OFFCOURSE_MIRROR, the extracted repository or its archive; False when it is not there.

    The archive can only be read from its beginning, so one pass keeps every list of sources.tsv.
    """
    if not os.environ.get("OFFCOURSE_MIRROR"):
        return False
    mirror = Path(os.environ["OFFCOURSE_MIRROR"])
    if not mirror.is_dir():
        raise OffcourseError(f"OFFCOURSE_MIRROR is {mirror}, which is not a folder; set it to a folder, or unset it")
    folder, archive = f"{ARCHIVE}-{commit}", mirror / f"{ARCHIVE}-{commit[:7]}.tar.xz"
    if (mirror / folder / source.spec).is_file():
        _keep((mirror / folder / source.spec).read_bytes(), source, path, mirror / folder / source.spec)
        return True
    if not archive.is_file():
        return False
    wanted = {f"{folder}/{row.spec}": row for row in lists}
    downloads = path.parents[len(Path(source.spec).parts) - 1]
    try:
        with tarfile.open(archive) as members:
            for member in members:
                if member.name in wanted:
                    row = wanted.pop(member.name)
                    _keep(members.extractfile(member).read(), row, downloads / row.spec, f"{archive}: {member.name}")
                if not wanted:
                    break
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise OffcourseError(f"{archive} is damaged ({error}); replace it, or unset OFFCOURSE_MIRROR") from error
    return path.exists()


def _keep(content: bytes, source: Source, path: Path, origin: object) -> None:
    """Write a mirrored file to its place, if it is what sources.tsv says."""
    got = hashlib.sha256(content).hexdigest()
    if got != source.sha256:
        raise OffcourseError(
            f"{origin} has the sha256 {got}, expected {source.sha256} (sources.tsv, {source.name}). Replace it, or "
            "unset OFFCOURSE_MIRROR to download the file. Nothing was written."
        )
    write_whole(path, lambda temporary: temporary.write_bytes(content))


def _from_network(source: Source, url: str, path: Path) -> None:
    """Download a list; pooch writes to a temporary file and moves it only if the sha256 is right."""
    pooch.get_logger().setLevel("WARNING")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        downloader = pooch.HTTPDownloader(timeout=30)
        pooch.retrieve(url, f"sha256:{source.sha256}", fname=path.name, path=path.parent, downloader=downloader)
    except requests.RequestException as error:
        raise OffcourseError(
            f"cannot download {url} ({type(error).__name__}). Check the network, or set OFFCOURSE_MIRROR to a folder "
            "with a copy of the authors' repository, or use data: embedded."
        ) from error
    except ValueError as error:
        raise OffcourseError(
            f"{url} does not have the sha256 {source.sha256} that sources.tsv expects, so it was not kept. Something "
            "between here and there changes files; try again on another network, or set OFFCOURSE_MIRROR."
        ) from error
    except OSError as error:
        raise OffcourseError(f"cannot write {path}: {error.strerror or error}. Make room or permit writing.") from error
