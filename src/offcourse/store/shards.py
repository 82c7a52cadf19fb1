"""The content-addressed store of shards, shared by all studies of a checkout."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from offcourse.artefacts import sha256, write_json, write_whole


def digest(parts: dict[str, Any]) -> str:
    """The name of a shard: sha256 of its key's parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Store:
    """Shards below one folder; `{key}.{suffix}` holds the artefact, `{key}.json` its sha256 and the key's parts.

    The JSON is written last, so a shard exists entirely or not at all, also when two jobs write the same key or one is
    killed. A shard is hashed when it is read; a damaged one counts as missing and is said so.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def _paths(self, key: str, suffix: str) -> tuple[Path, Path]:
        stem = self.folder / key[:2] / key
        return stem.with_suffix(suffix), stem.with_suffix(".json")

    def find(self, key: str, suffix: str) -> Path | None:
        """The intact artefact under `key`, or None."""
        artefact, note = self._paths(key, suffix)
        if not note.exists():
            return None
        try:
            expected = json.loads(note.read_text())["sha256"]
            intact = artefact.exists() and sha256(artefact) == expected
        except (ValueError, KeyError):
            intact = False
        if not intact:
            print(f"offcourse: shard {artefact} is damaged or incomplete; it is computed again", file=sys.stderr)
            return None
        return artefact

    def put(self, parts: dict[str, Any], suffix: str, write: Callable[[Path], Any]) -> Path:
        """Let `write` make the artefact of the key `parts`; returns its path.

        Raises `OffcourseError` when the disk refuses; the store is as before then.
        """
        key = digest(parts)
        artefact, note = self._paths(key, suffix)
        write_whole(artefact, write)
        write_json(note, {"sha256": sha256(artefact), "parts": parts})
        return artefact


def copy_whole(source: Path, target: Path) -> None:
    """Copy an artefact out of the store, whole or not at all (a copy: damage to one must not reach the other)."""
    write_whole(target, lambda temporary: shutil.copyfile(source, temporary))
