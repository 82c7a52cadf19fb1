"""Files of any kind: written whole or not at all, hashed, and refused in one message."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from offcourse.errors import OffcourseError


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal. Raises `OffcourseError` for a folder in the place of a file."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except IsADirectoryError as error:
        raise OffcourseError(f"{path} is a folder where a file should be. Move it away and run again.") from error
    return digest.hexdigest()


def known_sha256(path: Path) -> str:
    """The sha256 of a file, which this process hashes again only when its size, times or inode are others."""
    found = os.stat(path)
    return _sha256_of(str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


@cache
def _sha256_of(path: str, *marks: int) -> str:
    return sha256(Path(path))


# What the system answers when a disk is full, over its quota or read-only, or a folder is not the user's.
_REFUSALS = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM")}


def refusal(error: Exception) -> str | None:
    """The system's reason if `error` says that the disk refused a file (full, read-only, not permitted), else None.

    safetensors, tokenizers and the hub's client write files in Rust; their errors give the system's error number only
    as text.
    """
    if isinstance(error, OffcourseError):
        return None
    number = getattr(error, "errno", None)
    if number is None and (said := re.search(r"\(os error (\d+)\)", str(error))):
        number = int(said[1])
    return os.strerror(number) if number in _REFUSALS else None


@contextlib.contextmanager
def writing(where: str) -> Iterator[None]:
    """Turn an error of the disk inside the block into one `OffcourseError`: "cannot write {where}: {reason}"."""
    try:
        yield
    except Exception as error:
        reason = refusal(error)
        if reason is None and isinstance(error, OSError):
            reason = error.strerror or str(error)
        if reason is None:
            raise
        raise OffcourseError(
            f"cannot write {where}: {reason}. Nothing was changed; make room or permit writing, then run the same "
            "command again."
        ) from error


def follow_umask(path: Path) -> None:
    """Give a file or folder the permissions that the umask gives a new one; a folder keeps its setgid bit.

    `tempfile` and some libraries make their files private, but results should be as readable as the user's other files.
    """
    umask = os.umask(0)
    os.umask(umask)
    whole = 0o777 if path.is_dir() else 0o666
    path.chmod(whole & ~umask | path.stat().st_mode & stat.S_ISGID)


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it: readers see the old file or the new one.

    Raises `OffcourseError` for a folder, and when the disk refuses (full, read-only); nothing is left behind then.
    """
    path = Path(path)
    if path.is_dir():
        raise OffcourseError(f"{path} is a folder. Name a file to write.")
    with writing(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_begun(path.name), suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            follow_umask(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def is_being_written(path: Path, name: str) -> bool:
    """Whether a file is what `write_whole` fills before it becomes the file `name` beside it."""
    return path.name.startswith(_begun(name))


def _begun(name: str) -> str:
    return f".{name}."


def write_between(page: Path, begin: str, end: str, content: str) -> None:
    """Replace what stands between two marks of a page. Raises `OffcourseError` when the page lacks one of them."""
    before, first, rest = page.read_text(encoding="utf-8").partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise OffcourseError(f"{page} lacks the marks {begin} and {end}; put them around the part that is made.")
    text = f"{before}{begin}\n{content}\n{end}{after}"
    write_whole(page, lambda temporary: temporary.write_text(text, encoding="utf-8"))


# What `write_whole` and `tempfile` name files that are not finished.
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}(\.\w+)?|tmp[a-z0-9_]{8}(\.\w+)?")


def sweep(folder: Path) -> list[Path]:
    """Remove what killed programs left below `folder`: temporary files and folders. Returns what was removed.

    Only the one run that is at work in a folder may sweep it.
    """
    removed = []
    for parent, folders, files in os.walk(folder):
        for name in filter(_TEMPORARY.fullmatch, [*folders, *files]):
            path = Path(parent) / name
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                removed.append(path)
        folders[:] = [name for name in folders if not _TEMPORARY.fullmatch(name)]
    return removed


def scratch_of(folder: Path) -> Path:
    """Where a folder is filled before it gets its name."""
    return folder.with_name(f".{folder.name}.part")


@contextlib.contextmanager
def locked(folder: Path, timeout: float = -1) -> Iterator[None]:
    """Hold the lock of a folder that is filled; wait for another process that has it, `timeout` seconds or for ever.

    Raises `filelock.Timeout`. The lock ends with its process; its file is removed, so that nothing is left behind.
    """
    path = folder.with_name(f".{folder.name}.lock")
    # A lock of the kernel or none: the library's other kind is a file that a killed process would leave behind. Who
    # waits for a file that is removed meanwhile asks for a new one.
    with FileLock(path, timeout=timeout, fallback_to_soft=False):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
