"""One run at a time in a folder."""

import fcntl
import os
import platform
from pathlib import Path

from offcourse.errors import OffcourseError

# Locks that this process holds: closing the file would end one.
_HELD = {}


def hold(path: Path) -> None:
    """Hold the lock file `path` until this process ends. A killed process leaves no lock; Snakemake's own would stay.

    Raises `OffcourseError` when another process has it.
    """
    if path in _HELD:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115, kept open on purpose
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip() or "just started"
        file.close()
        raise OffcourseError(
            f"another run is at work in {Path.cwd()} ({holder}). Wait until it ends, or run another study with "
            "--directory elsewhere."
        ) from error
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}")
    file.flush()
    _HELD[path] = file
