"""The content-addressed store of shards, shared by all studies of a checkout."""

import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from offcourse.errors import OffcourseError
from offcourse.files import known_sha256, sha256, write_whole
from offcourse.store.sealed_json import digest, read_sealed, write_sealed

# The folder beside the store in which archives of other labs lie, see `offcourse.share`.
OTHERS = "others"


class ShardStore:
    """Shards below one folder. A shard is one result, in two files: `{key}.{suffix}` (the artefact) and `{key}.json`.

    The JSON file holds the artefact's sha256, the parts of the key (their digest is the key) and how the artefact was
    made. It is written last, so a shard exists entirely or not at all, even when two jobs write one key or a job is
    killed. `find` hashes a shard before use; a damaged shard is reported and counts as missing.

    Shards of merged archives are read too: `others/{merge}/{archive}/store` beside the folder. The folder's own shard
    comes first, then the archive that was merged first. Only the folder itself is written to.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    @cached_property
    def _folders(self) -> list[Path]:
        """This store's folder, and those of merged archives in the order in which they are asked."""
        return [self.folder, *sorted(self.folder.with_name(OTHERS).glob("[0-9]*/[0-9]*/store"))]

    def places(self, key: str, suffix: str) -> Iterator[tuple[Path, Path]]:
        """(artefact, note) of the shard `key` in each folder that has its note."""
        pairs = (_in(folder, key, suffix) for folder in self._folders)
        return (pair for pair in pairs if pair[1].exists())

    def _paths(self, key: str, suffix: str) -> tuple[Path, Path]:
        return next(self.places(key, suffix), _in(self.folder, key, suffix))

    def archive_of(self, key: str, suffix: str) -> Path | None:
        """The folder of the merged archive from which the shard `key` is read; None where it was computed here."""
        folder = self.path(key, suffix).parents[1]
        return None if folder == self.folder else folder.parent

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
        whole = isinstance(expected.get("made"), dict | None) and "made" in expected
        if digest(expected.get("parts")) != key or not whole:
            return f"{note} does not belong to its name"
        return "" if known_sha256(artefact) == expected.get("sha256") else f"{artefact} differs from what was written"

    def note(self, key: str, suffix: str) -> dict[str, Any]:
        """What is known of the shard `key`: `sha256`, `parts` and `made`. Ask `damage` first."""
        return read_sealed(self._paths(key, suffix)[1])

    def made(self, key: str, suffix: str) -> dict[str, Any]:
        """How the shard `key` was made (see `provenance.records`)."""
        return self.note(key, suffix)["made"]

    def drop(self, key: str, suffix: str) -> None:
        """Remove the shard `key` wherever this store reads it, so that it is computed again."""
        for artefact, note in list(self.places(key, suffix)):
            note.unlink(missing_ok=True)
            artefact.unlink(missing_ok=True)
        for path in reversed(_in(self.folder, key, suffix)):
            path.unlink(missing_ok=True)

    def put(self, parts: dict[str, Any], suffix: str, write: Callable[[Path], Any], made: Any = None) -> Path:
        """Let `write` make the artefact of the key `parts`; returns the artefact's path.

        made: how the artefact was made, as JSON, or a function that returns this JSON, called after `write`.

        Raises `OffcourseError` when the disk refuses; the store is then unchanged.
        """
        key = digest(parts)
        artefact, note = _in(self.folder, key, suffix)
        write_whole(artefact, write)
        write_sealed(note, {"sha256": sha256(artefact), "parts": parts, "made": made() if callable(made) else made})
        return artefact


def _in(folder: Path, key: str, suffix: str) -> tuple[Path, Path]:
    stem = folder / key[:2] / key
    return stem.with_suffix(suffix), stem.with_suffix(".json")


def copy_whole(source: Path, target: Path) -> None:
    """Copy an artefact out of the store, whole or not at all. No link, so that damage to one file spares the other."""
    write_whole(target, lambda temporary: shutil.copyfile(source, temporary))
