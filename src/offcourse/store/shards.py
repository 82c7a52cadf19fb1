"""The content-addressed store of shards, shared by all studies of a checkout."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from offcourse.errors import OffcourseError
from offcourse.files import sha256, write_whole
from offcourse.store.sealed_json import digest, read_sealed, write_sealed


class ShardStore:
    """Shards below one folder; `{key}.{suffix}` holds the artefact, `{key}.json` its sha256, the key's parts (whose
    digest names the shard) and how it was made.

    The JSON is written last, so a shard exists entirely or not at all, also when two jobs write the same key or one is
    killed. A shard is hashed when it is read; a damaged one counts as missing and is said so.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def _paths(self, key: str, suffix: str) -> tuple[Path, Path]:
        stem = self.folder / key[:2] / key
        return stem.with_suffix(suffix), stem.with_suffix(".json")

    def path(self, key: str, suffix: str) -> Path:
        """Where the artefact of the shard `key` is."""
        return self._paths(key, suffix)[0]

    def find(self, key: str, suffix: str) -> Path | None:
        """The intact artefact under `key`, or None."""
        artefact, note = self._paths(key, suffix)
        if not note.exists():
            return None
        if self.damage(key, suffix):
            print(f"offcourse: shard {artefact} is damaged or incomplete; it is computed again", file=sys.stderr)
            return None
        return artefact

    def damage(self, key: str, suffix: str) -> str:
        """What is wrong with the shard `key`, in words; empty when it is as it was written."""
        artefact, note = self._paths(key, suffix)
        try:
            expected = read_sealed(note)
        except OffcourseError as error:
            return str(error)
        if not artefact.exists():
            return f"{artefact} is missing"
        if digest(expected.get("parts")) != key or "made" not in expected:
            return f"{note} does not belong to its name"
        return "" if sha256(artefact) == expected["sha256"] else f"{artefact} differs from what was written"

    def made(self, key: str, suffix: str) -> dict[str, Any]:
        """How the shard `key` was made (see `provenance.records`)."""
        return read_sealed(self._paths(key, suffix)[1])["made"]

    def put(self, parts: dict[str, Any], suffix: str, write: Callable[[Path], Any], made: Any = None) -> Path:
        """Let `write` make the artefact of the key `parts`; returns its path.

        made: how it was made, as JSON, or a function that says so when it is.

        Raises `OffcourseError` when the disk refuses; the store is as before then.
        """
        key = digest(parts)
        artefact, note = self._paths(key, suffix)
        write_whole(artefact, write)
        write_sealed(note, {"sha256": sha256(artefact), "parts": parts, "made": made() if callable(made) else made})
        return artefact


def copy_whole(source: Path, target: Path) -> None:
    """Copy an artefact out of the store, whole or not at all (a copy: damage to one must not reach the other)."""
    write_whole(target, lambda temporary: shutil.copyfile(source, temporary))
