"""Hashing the files of prepared models in threads of their own, beside the rest of an audit.

An audit trusts no time and no inode: it reads every byte of the weights again. That needs no interpreter, so the other
cores read and hash while this one reads records, and large models take as long as their slowest files.
"""

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from offcourse.errors import OffcourseError
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

    def begin(self, folders: Iterable[Path]) -> None:
        """Begin to hash every file that the manifests of prepared folders name. A damaged manifest is left alone."""
        for folder in folders:
            try:
                names = read_manifest(folder)["files"]
            except OffcourseError:
                continue
            for path in (folder / name for name in names):
                if path not in self._begun:
                    self._begun[path] = self._threads().submit(_hashed, path)

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
        return _hashed(path)[1]

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        return self._pool


def _hashed(path: Path) -> tuple[Marks, str | None]:
    """The marks of a file before it was hashed, and its sha256."""
    marks, digest = _marks(path), hashlib.sha256()
    # No larger than the file: for a small file, making a whole block takes longer than hashing.
    block = bytearray(min(BLOCK, marks[0] if marks else 1) or 1)
    try:
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(block):
                digest.update(memoryview(block)[:count])
    except OSError:
        return marks, None
    return marks, digest.hexdigest()


def _marks(path: Path) -> Marks:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
