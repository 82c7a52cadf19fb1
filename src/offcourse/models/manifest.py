"""The manifest of a prepared model folder, and whether the folder still holds the files that it names.

`manifest.json` has the sha256 of every file, and the digest of all of them, which names the weights everywhere else.
`seen.json` has the size, times and inode that each file had when it was last hashed: a file that still has them is not
hashed again. A file behind a link is the one that counts, so a `local` model that is trained on in place is noticed.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offcourse.errors import OffcourseError
from offcourse.files import is_being_written, sha256
from offcourse.store.sealed_json import read_sealed, write_sealed

MANIFEST = "manifest.json"
SEEN = "seen.json"
CONFIG = "config.json"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def read_manifest(folder: Path) -> dict[str, Any]:
    """`files` (sha256 by name), `digest`, and `asked`: what the folder was prepared from (empty in an older manifest).

    Raises `OffcourseError` when there is no manifest, or the file is not what was written.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found = {key: manifest[key] for key in ("digest", "files")} | {"asked": manifest.get("asked", "")}
        whole = found["digest"] == digest_of(found["files"]) and all(
            isinstance(value, str) for value in found["files"].values()
        )
    except FileNotFoundError as error:
        raise OffcourseError(
            f"{folder} is not a prepared model folder: run the workflow, which prepares it."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _not_as_written(path) from error
    if not whole:
        raise _not_as_written(path)
    return found


def _not_as_written(path: Path) -> OffcourseError:
    return OffcourseError(
        f"{path} is not what was written (cut or changed). Delete {path.parent} and run again: it is prepared anew."
    )


def digest_of(files: dict[str, str]) -> str:
    """The digest of a prepared folder: of the sha256 of its weights and configurations, by file name."""
    kept = {name: value for name, value in files.items() if name.endswith((".safetensors", "config.json"))}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def weights_digest(folder: Path) -> str:
    """The digest that the manifest of a prepared folder gives."""
    return read_manifest(folder)["digest"]


def files_digest(folder: Path, wanted: Callable[[str], bool]) -> str:
    """The digest of the files of a prepared folder whose names are `wanted`, as its manifest has them.

    Raises `OffcourseError` when there is no manifest.
    """
    kept = {name: value for name, value in read_manifest(folder)["files"].items() if wanted(name)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def loaded_digest(folder: Path) -> str:
    """The digest of what a loaded model is made of: its weights and its configuration."""
    return files_digest(
        folder, lambda name: name.endswith((".safetensors", ".safetensors.index.json")) or name == CONFIG
    )


def tokenizer_digest(folder: Path) -> str:
    """The digest of the files that `models.tokenizer` reads. `weights_digest` does not hold them."""
    return files_digest(folder, lambda name: name in TOKENIZER)


def verify(folder: Path) -> None:
    """Hash every file of a prepared folder again.

    Raises `OffcourseError` naming the first that differs, or the manifest when it cannot be read.
    """
    if wrong := changes(folder, all_files=True):
        raise _changed(folder, wrong)


def changes(folder: Path, all_files: bool = False) -> dict[str, str]:
    """What is wrong with the files of a prepared folder, in words by file name; empty when all is as it was prepared.

    A file whose size, times and inode are those of its last hashing is taken for unchanged; any other is hashed.
    all_files: hash every file. Raises `OffcourseError` when the manifest cannot be read.
    """
    files, seen = read_manifest(folder)["files"], {} if all_files else _seen(folder)
    wrong, hashed = {}, []
    for name, expected in files.items():
        marks = _marks(folder / name)
        if marks is None:
            wrong[name] = "the file is gone"
        elif seen.get(name) == [expected, *marks]:
            continue
        elif _digest(folder / name) != expected:
            wrong[name] = "not what was prepared"
        elif _marks(folder / name) == marks:
            # A file that was written to while it was hashed is not noted: the next look hashes it again.
            hashed.append(name)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        # Another job of this model may be writing what it has hashed.
        if is_being_written(path, SEEN) and path.parent == folder:
            continue
        if name not in files and name not in (MANIFEST, SEEN) and not path.is_dir():
            wrong[name] = "not a file of the prepared model"
    if hashed:
        note(folder, files, hashed)
    return wrong


def _digest(path: Path) -> str | None:
    """sha256 of a file; None for what cannot be read as one."""
    try:
        return sha256(path)
    except OSError:
        return None


def note(folder: Path, files: Mapping[str, str], hashed: Collection[str]) -> None:
    """Note that files of a folder were hashed just now and are what `files` says; a disk may refuse."""
    now = {name: [files[name], *marks] for name in hashed if (marks := _marks(folder / name))}
    with suppress(OffcourseError):
        write_sealed(folder / SEEN, {"files": _seen(folder) | now})


def still_is(folder: Path, name: str, origin: Path, expected: str) -> bool:
    """Whether `origin`, a file outside a prepared folder, has the sha256 that the folder's file `name` was made from.

    An origin whose marks were noted when it was hashed is not hashed again.
    """
    # No file of a prepared folder has such a path.
    noted, marks, seen = f"../origin/{name}", _marks(origin), _seen(folder)
    if seen.get(noted) == [expected, *(marks or [])]:
        return True
    if _digest(origin) != expected or _marks(origin) != marks:
        return False
    with suppress(OffcourseError):
        write_sealed(folder / SEEN, {"files": seen | {noted: [expected, *marks]}})
    return True


def unchanging(path: Path) -> list[int]:
    """Size, time of the last change and inode of a file: what a change of its mode leaves."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def _seen(folder: Path) -> dict[str, list]:
    try:
        found = read_sealed(folder / SEEN)["files"]
    except (OffcourseError, KeyError):
        return {}
    return found if isinstance(found, dict) else {}


def _marks(path: Path) -> list[int] | None:
    """Size, times and inode of the file that a path leads to; None when there is none.

    A program can set back the time of the last change of a file's content, but not the time of its status.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _changed(folder: Path, wrong: Mapping[str, str]) -> OffcourseError:
    name = min(wrong)
    return OffcourseError(
        f"{folder / name} is missing or is not the file that was prepared ({wrong[name]}; {len(wrong)} in all). "
        f"Delete {folder} and run again: it is prepared anew."
    )


@dataclass(frozen=True)
class OpenedModel:
    """The files of a prepared model as a job found them, each hashed or known to be unchanged since it was hashed."""

    folder: Path
    marks: Mapping[str, list[int] | None]

    @classmethod
    def of(cls, folder: Path) -> "OpenedModel":
        """Check the files of a folder before a job opens one.

        Raises `OffcourseError` naming a file that is not the one of the manifest.
        """
        names = (MANIFEST, *read_manifest(folder)["files"])
        # First the marks: a file that changes while it is checked differs from them afterwards.
        marks = {name: _marks(folder / name) for name in names}
        if wrong := changes(folder):
            raise _changed(folder, wrong)
        return cls(folder, marks)

    def require_unchanged(self) -> None:
        """Raise `OffcourseError` when one of the files was written to or replaced since the job began."""
        touched = sorted(name for name, marks in self.marks.items() if _marks(self.folder / name) != marks)
        if touched:
            raise OffcourseError(
                f"{self.folder / touched[0]} was written to, moved or replaced while this job read the model. The "
                "result of this job is not kept. Leave the model's files alone during a run, and run the same command "
                "again: a model that is another one now is prepared and computed anew."
            )
