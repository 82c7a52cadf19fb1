"""Records: what is known about how each result was made.

One JSON file per result of a step, and one per job that draws tables or figures. A record holds the digests of what it
read and wrote, and is sealed itself, so that a changed byte anywhere is found.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from offcourse.errors import OffcourseError
from offcourse.files import sha256
from offcourse.provenance.environment import energy, environment, peak_memory
from offcourse.store.fingerprint import modules_behind, versions_behind
from offcourse.store.sealed_json import digest, read_sealed, write_sealed

SCHEMA = 2
FIELDS = ("schema", "rule", "wildcards", "study", "inputs", "outputs", "parameters", "code", "made")


class OlderRecordError(OffcourseError):
    """A record of a schema that this version does not read."""


class Stopwatch:
    """Start, end, peak memory and energy of a piece of work."""

    def __init__(self):
        self.started, self._energy = datetime.now(UTC), energy()

    def made(self) -> dict[str, Any]:
        """The environment and what the work cost, up to now."""
        ended, joules = datetime.now(UTC), energy()
        used = joules - self._energy if joules is not None and self._energy is not None else None
        return {
            **environment(),
            "started": self.started.isoformat(timespec="milliseconds"),
            "ended": ended.isoformat(timespec="milliseconds"),
            "seconds": round((ended - self.started).total_seconds(), 3),
            "peak_memory_bytes": peak_memory(),
            # The counter starts anew now and then; a difference below zero says nothing.
            "energy_joules": round(used, 3) if used is not None and used >= 0 else None,
        }


def code_behind(*targets: str) -> dict[str, Any]:
    """The code of `targets` ("module:function"): each module's digest, and the numerical packages' versions."""
    return {"targets": list(targets), "modules": modules_behind(*targets), "packages": versions_behind(*targets)}


def fingerprint_of(code: Mapping[str, Any]) -> str:
    """One digest for a record's `code`."""
    return digest({key: code[key] for key in ("modules", "packages")})[:16]


def hashes(paths: Iterable[Path], base: Path) -> dict[str, str]:
    """sha256 by path relative to `base`, where a study runs; a file elsewhere keeps its absolute path."""
    return {relative(path, base): sha256(path) for path in paths}


def relative(path: Path, base: Path) -> str:
    """`path` as records write it."""
    path, base = Path(path).absolute(), Path(base).absolute()
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write `record` with its schema, whole or not at all."""
    write_sealed(path, {"schema": SCHEMA, **record})


def read_record(path: Path) -> dict[str, Any]:
    """Read a record, and check that the file is as it was written.

    Raises `OffcourseError` when it cannot be read, was changed by a byte, or is of another schema than this version's.
    """
    _refuse_other_schemas(path)
    record = read_sealed(path)
    if missing := set(FIELDS) - record.keys():
        raise OffcourseError(f"{path} is no record: it lacks {', '.join(sorted(missing))}.")
    return record


def _refuse_other_schemas(path: Path) -> None:
    """Records of older versions had no digest, so they are told from changed ones first."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    older = isinstance(found, dict) and "digest" not in found and "schema" not in found and "parts" in found
    if older or (
        isinstance(found, dict) and found.get("schema", SCHEMA) != SCHEMA and isinstance(found["schema"], int)
    ):
        raise OlderRecordError(
            f"{path} is a record of schema {found.get('schema', 1)}, this version writes schema {SCHEMA}. Run the "
            "workflow again: what the store still has is not computed anew."
        )
