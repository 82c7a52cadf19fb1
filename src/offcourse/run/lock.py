"""A lock that allows one run at a time in a folder."""

import os
import platform
from pathlib import Path

from filelock import FileLock, Timeout

from offcourse.errors import OffcourseError

# Locks that this process holds; a lock without a reference would be released.
_HELD: dict[Path, FileLock] = {}


def hold(path: Path) -> None:
    """Hold the lock file `path` until this process ends. Unlike Snakemake's own lock, it does not outlive a kill.

    Raises `OffcourseError` naming the process that holds the lock when another process does.
    """
    if path in _HELD:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Only a lock of the kernel: the library's fallback is a file that a killed run would leave behind.
    lock = FileLock(path, timeout=0, thread_local=False, fallback_to_soft=False, on_acquired=_sign)
    try:
        lock.acquire()
    except Timeout as error:
        holder = path.read_text(encoding="utf-8").strip() or "just started"
        raise OffcourseError(
            f"another run is at work in {path.absolute().parents[1]} ({holder}). Wait until it ends, or run "
            "another study with --directory elsewhere."
        ) from error
    _HELD[path] = lock


def _sign(descriptor: int) -> None:
    """Write the holder (process and machine) into the lock file."""
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
