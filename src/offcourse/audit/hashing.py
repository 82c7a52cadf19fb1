"""Hashing the files of prepared models in threads of their own, beside the rest of an audit.

An audit trusts no time and no inode: it reads every byte of the weights again. That needs no interpreter, so the other
cores read and hash while this one reads records, and large models take as long as their slowest files.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event

from offcourse.errors import OffcourseError
from offcourse.layout import Layout
from offcourse.models.manifest import read_manifest

# A thread waits for the interpreter between two blocks, for 5 ms while another one computes: few and large ones.
BLOCK = 8 << 20
# Size, times and inode of a file; None when there is none.
Marks = tuple[int, ...] | None


class Hashing:
    """The sha256 of files, begun before anyone asks for them."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._begun: dict[Path, Future[tuple[Marks, str | None]]] = {}
        self._closed = Event()

    def close(self) -> None:
        """Hash nothing more. Python waits for its threads at the end, and a large file takes minutes."""
        self._closed.set()

    def begin(self, folders: Iterable[Path]) -> None:
        """Begin to hash every file that the manifests of prepared folders name. A damaged manifest is left alone."""
        for folder in folders:
            try:
                names = read_manifest(folder)["files"]
            except OffcourseError:
                continue
            for path in (folder / name for name in names):
                if path not in self._begun:
                    self._begun[path] = self._threads().submit(_hashed, path, self._closed)

    def wrong(self, folder: Path, files: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
        """What is wrong with the files of a prepared folder, in words by file name, but for the `known` ones.

        files: sha256 by name.
        """
        said = "not what was prepared"
        return {name: said for name, sha in files.items() if name not in known and self.digest(folder / name) != sha}

    def digest(self, path: Path) -> str | None:
        """sha256 of a file; None for what cannot be read as one. A file that was touched since is hashed again."""
        if path in self._begun:
            marks, found = self._begun[path].result()
            if marks == _marks(path):
                return found
        return _hashed(path, Event())[1]

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        return self._pool


def begun(configfile: Path, directory: Path, name: str) -> Hashing:
    """Begin to hash the models behind a table or figure, before the study is read, which takes a second of imports.

    The study's records say which models these are. This is a guess: the audit itself finds what is behind the table,
    and hashes what was not begun. name: as in `Audit.files`.
    """
    import yaml

    hashing = Hashing()
    # Whatever is wrong here, the audit says so.
    with suppress(OSError, ValueError, yaml.YAMLError, TypeError, KeyError, AttributeError):
        layout = Layout(str(yaml.safe_load(configfile.read_text(encoding="utf-8"))["study"]), directory)
        folder = layout.results.relative_to(directory)
        shown = [folder / kind / name for kind in ("tables", "figures")]
        for record in sorted((layout.results / "provenance").glob("*.json")):
            job = json.loads(record.read_text(encoding="utf-8"))
            made = [Path(path).with_suffix("") for path in job["outputs"]]
            if any(path.is_relative_to(one) for path in made for one in shown):
                read = [Path(path).relative_to(folder) for path in job["inputs"] if Path(path).is_relative_to(folder)]
                hashing.begin({layout.model_folder(path.parts[0]) for path in read})
    return hashing


def _hashed(path: Path, closed: Event) -> tuple[Marks, str | None]:
    """The marks of a file before it was hashed, and its sha256."""
    marks, digest = _marks(path), hashlib.sha256()
    # No larger than the file: for a small file, making a whole block takes longer than hashing.
    block = bytearray(min(BLOCK, marks[0] if marks else 1) or 1)
    try:
        with open(path, "rb", buffering=0) as file:
            while (count := file.readinto(block)) and not closed.is_set():
                digest.update(memoryview(block)[:count])
    except OSError:
        return marks, None
    # Half of a file has no digest; whoever asks for it all the same has it hashed then.
    return (None, None) if closed.is_set() else (marks, digest.hexdigest())


def _marks(path: Path) -> Marks:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
