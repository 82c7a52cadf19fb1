"""Files of any kind: written whole or not at all, hashed, and refused in one message."""

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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

    Raises `OffcourseError` when the disk refuses (full, read-only); nothing is left behind then.
    """
    path = Path(path)
    with writing(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
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


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=False) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
