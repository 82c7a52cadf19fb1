"""Merging archives of other labs: everything is checked in a folder aside, which then gets its name in one move.

A merge is a folder `results/others/{number}` with a folder per archive. The store reads the shards there
(`store.shards`), after its own. So what is merged is there entirely or not at all, nothing of this lab's is
overwritten, and removing the folder undoes the merge.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from offcourse.errors import OffcourseError
from offcourse.files import follow_umask, write_json, writing
from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.provenance.records import read_record
from offcourse.provenance.sharing import MARK
from offcourse.schemas.io import read_parquet
from offcourse.share.archive import unpack
from offcourse.share.manifest import AGAIN, NAME, RECORDS, STORE, Manifest, Result, read_manifest
from offcourse.store.fingerprint import modules_behind, versions_behind
from offcourse.store.sealed_json import digest, read_sealed
from offcourse.store.shards import OTHERS

# Of each archive: what the merge did with it.
MERGED = "merged.json"
# What the account of a shard must say, since later commands print and compare it.
_MADE = {"host": str, "device": str, "platform": str, "python": str, "packages": dict, "git": dict}
_MADE |= {"started": str, "ended": str, "seconds": (int, float)}


@dataclass(frozen=True)
class Merged:
    """What came of one archive; numbers of shards.

    new: read from the archive from now on. same: there already, with the same content. different: there already, with
    another content. usable: of the new ones, made by the code and the versions of packages of this checkout.
    """

    archive: str
    study: str
    new: int
    same: int
    different: int
    usable: int


def others_of(layout: Layout) -> Path:
    """The folder of merged archives, beside the store."""
    return layout.store.with_name(OTHERS)


def archives_in(folder: Path) -> list[Path]:
    """The folders of all merged archives, in the order in which they were merged."""
    return sorted(path.parent for path in folder.glob(f"[0-9]*/[0-9]*/{NAME}"))


def merge(archives: Sequence[Path], layout: Layout) -> list[Merged]:
    """Let the store read the shards of other labs' archives; an archive that was merged before is left out.

    Raises `OffcourseError` naming an archive and what is wrong with it; then nothing was merged, of no archive.
    """
    others = others_of(layout)
    with writing(str(others)):
        others.mkdir(parents=True, exist_ok=True)
    # What killed merges left. No other merge is at work: the verb holds the lock of a run.
    for left in others.glob(".merge.*"):
        shutil.rmtree(left, ignore_errors=True)
    try:
        # A killed merge leaves this folder, and the next merge or run removes it.
        with tempfile.TemporaryDirectory(prefix=".merge.", dir=others) as scratch:
            found = _checked(archives, Path(scratch), layout)
            if found:
                _enter(Path(scratch), others)
    finally:
        with suppress(OSError):
            others.rmdir()
    return found


def _checked(archives: Sequence[Path], scratch: Path, layout: Layout) -> list[Merged]:
    """Unpack and check archives below `scratch`, each in a folder of its own."""
    known, found = {_identity(folder) for folder in archives_in(others_of(layout))}, []
    folders: list[Path] = [layout.store, *(folder / STORE for folder in archives_in(others_of(layout)))]
    for archive in archives:
        folder = scratch / "unpacked"
        manifest = unpack(archive, folder)
        _check(archive, folder, manifest)
        if (identity := _identity(folder)) in known:
            folder.rename(scratch / f".{identity}")
            continue
        known.add(identity)
        said = _compared(archive, folder, manifest, folders)
        write_json(folder / MERGED, asdict(said))
        named = scratch / f"{len(found) + 1:02d}-{identity[:12]}"
        folder.rename(named)
        folders.append(named / STORE)
        found.append(said)
    return found


def _enter(scratch: Path, others: Path) -> None:
    """Give the checked archives their number, in one move."""
    number = max((int(path.name) for path in others.glob("[0-9]*") if path.name.isdigit()), default=0) + 1
    with writing(str(others)):
        whole = Path(tempfile.mkdtemp(prefix=".merge.", dir=others))
        for folder in scratch.glob("[0-9]*"):
            folder.rename(whole / folder.name)
        follow_umask(whole)
        whole.rename(others / f"{number:04d}")


def _identity(folder: Path) -> str:
    """What names an archive: the digest of its manifest, which has the sha256 of every file."""
    return json.loads((folder / NAME).read_text(encoding="utf-8"))["digest"]


def _check(archive: Path, folder: Path, manifest: Manifest) -> None:
    """Hold shards and records against their keys, digests and schemas, and each other."""
    places = {result: _places(archive, manifest, result) for result in manifest.results}
    inside = {name for name in manifest.members if name.startswith((f"{STORE}/", f"{RECORDS}/"))}
    if odd := inside ^ {name for names in places.values() for name in names}:
        raise OffcourseError(f"{archive}: {min(odd)} belongs to no result, or a result lacks this file. {AGAIN}")
    for result, (artefact, note, record) in places.items():
        try:
            known = _note(folder, note, artefact, manifest.members[artefact].sha256, result)
            _numbers(folder / artefact, result)
            _record(folder / record, known, result)
        except OffcourseError as error:
            said = str(error).replace(f"{folder}/", "")
            raise OffcourseError(f"{archive}: {said.rstrip('.')}. {AGAIN}") from error


def _places(archive: Path, manifest: Manifest, result: Result) -> tuple[str, str, str]:
    """The paths of a result's artefact, of its shard's note and of its record."""
    if result.step not in STEPS:
        raise OffcourseError(
            f"{archive} has results of a step {result.step!r}, which this checkout does not have. Nothing was "
            f"imported. Check out the version that packed it ({manifest.offcourse.version}, commit "
            f"{manifest.offcourse.commit}), or add the method."
        )
    place = f"{STORE}/{result.key[:2]}/{result.key}"
    record = f"{RECORDS}/{result.model}/{result.step}/{result.unit}.json"
    return place + STEPS[result.step].suffix, f"{place}.json", record


def _note(folder: Path, name: str, artefact: str, sha256: str, result: Result) -> Mapping[str, Any]:
    """The note of a shard, whose key is recomputed from what the note says that the shard depends on.

    sha256: of the artefact.
    """
    note = read_sealed(folder / name)
    parts, made = note.get("parts"), note.get("made")
    if not isinstance(parts, dict) or digest(parts) != result.key:
        raise OffcourseError(f"{artefact}: its key is not the digest of what {name} says that it depends on")
    if note.get("sha256") != sha256:
        raise OffcourseError(f"{artefact} is not the content whose sha256 {name} has")
    if (parts.get("step"), parts.get("task")) != (result.step, result.unit):
        raise OffcourseError(f"{name} is of {parts.get('step')} {parts.get('task')}, its manifest says otherwise")
    if not isinstance(parts.get("code"), dict) or not isinstance(parts.get("packages"), dict):
        raise OffcourseError(f"{name} does not say which code and packages made it")
    if not isinstance(made, dict) or any(not isinstance(made.get(key), kind) for key, kind in _MADE.items()):
        raise OffcourseError(f"{name} does not say how it was made")
    if not made["host"].startswith(MARK):
        raise OffcourseError(f"{name} names a machine by its name; `offcourse share pack` writes a digest")
    return note


def _numbers(path: Path, result: Result) -> None:
    """Raise `OffcourseError` for a result that is not the table or the tensors that its step writes."""
    schema = STEPS[result.step].schema
    if schema is not None:
        read_parquet(path, schema)
        return
    try:
        with safe_open(path, "numpy") as tensors:
            if not list(tensors.keys()):
                raise OffcourseError(f"{path} holds no tensor")
    except (SafetensorError, OSError) as error:
        raise OffcourseError(f"{path} cannot be read as safetensors ({error})") from error


def _record(path: Path, note: Mapping[str, Any], result: Result) -> None:
    """Raise `OffcourseError` for a record that is not about this result and its shard."""
    known = read_record(path)
    said = {name: known.get(name) for name in ("key", "model", "step", "task")}
    if said != {"key": result.key, "model": result.model, "step": result.step, "task": result.unit}:
        raise OffcourseError(f"{path} is the record of another result")
    if known["parts"] != note["parts"] or known["made"] != note["made"]:
        raise OffcourseError(f"{path} and its shard say different things of its making")
    if list(known["outputs"].values()) != [note["sha256"]]:
        raise OffcourseError(f"{path} is not the record of what its shard holds")


def _compared(archive: Path, folder: Path, manifest: Manifest, before: Sequence[Path]) -> Merged:
    """How the shards of an archive compare with those of the stores before it."""
    counts = dict.fromkeys(("new", "same", "different", "usable"), 0)
    for result in manifest.results:
        place = Path(result.key[:2]) / f"{result.key}.json"
        note = read_sealed(folder / STORE / place)
        there = [read_sealed(store / place)["sha256"] for store in before if (store / place).exists()]
        if there:
            counts["same" if note["sha256"] in there else "different"] += 1
            continue
        targets, parts = STEPS[result.step].targets, note["parts"]
        here = modules_behind(*targets), versions_behind(*targets)
        counts["new"] += 1
        counts["usable"] += here == (parts["code"], parts["packages"])
    return Merged(str(archive.name), manifest.study, **counts)


def manifests(layout: Layout) -> dict[Path, Manifest]:
    """{folder of a merged archive: its manifest}, in the order in which they were merged."""
    return {folder: read_manifest(folder / NAME, str(folder)) for folder in archives_in(others_of(layout))}
