"""What a record, which is meant to be shared, says of the machine and of the user's folders.

A machine is a salted digest: records of one folder tell machines apart, and nobody can try names against a digest
without the salt, which stays in the folder. A folder of the user's is its last name alone.
"""

import hashlib
import platform
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from offcourse.errors import OffcourseError
from offcourse.files import write_whole, writing

Host = Literal["digest", "name"]
# Beside the results and in none of them: whoever publishes results keeps the salt.
SALT = Path(".offcourse") / "salt"
# What a digest begins with, so that it is told from a name and is not digested twice.
MARK = "salted:"


def host_as(how: Host, base: Path, host: str | None = None) -> str:
    """A machine's name (default: this machine's) as records of the folder `base` write it.

    how: digest, or name, which is as it is. Raises `OffcourseError` when the salt can be neither read nor written.
    """
    host = platform.node() if host is None else host
    if how == "name" or host.startswith(MARK):
        return host
    return MARK + hashlib.sha256(_salt(base / SALT) + host.encode()).hexdigest()[:16]


def made_as(how: Host, base: Path, made: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of how a result was made, with its machine as `host_as` has it.

    A result from the store may have been computed for a study that names its machines, or before digests were written.
    """
    return {**made, "host": host_as(how, base, made["host"])} if "host" in made else dict(made)


def repository(kind: str, repo: str) -> str:
    """A model's place as records write it: of a folder on this machine only the name."""
    return Path(repo).name if kind == "local" else repo


def _salt(path: Path) -> bytes:
    """The salt of a folder; it is made when there is none. Jobs that begin together agree on one."""
    if not path.exists():
        with writing(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_name("salt.lock")):
                if not path.exists():
                    write_whole(path, lambda new: new.write_text(secrets.token_hex(32) + "\n", encoding="ascii"))
    salt = path.read_bytes().strip()
    if len(salt) != 64:
        raise OffcourseError(
            f"{path} is damaged: it holds {len(salt)} signs instead of 64. Delete it; records that are written then "
            "have other digests of the same machine."
        )
    return salt
