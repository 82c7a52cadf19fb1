"""Packing a study: its shards, records and crate into one archive, without private names."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offcourse import __version__
from offcourse.audit.evidence import Evidence
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.files import known_sha256, sha256
from offcourse.graph.keys import STEPS, units_of
from offcourse.layout import Layout
from offcourse.provenance.environment import git_state
from offcourse.provenance.records import read_record
from offcourse.provenance.sharing import MARK, made_as
from offcourse.share.archive import write_archive
from offcourse.share.manifest import CRATE, FORMAT, NAME, RECORDS, STORE, floor_of, read_manifest
from offcourse.share.private import Search, private_names
from offcourse.store.sealed_json import read_sealed, write_sealed
from offcourse.store.shards import ShardStore
from offcourse.study.config import Study


@dataclass(frozen=True)
class Packed:
    """What an archive holds: numbers of results and of files, whether the study's crate is among them, and bytes."""

    results: int
    files: int
    crate: bool
    size: int


def pack(study: Study, registry: Registry, layout: Layout, out: Path, allowed: Iterable[str] = ()) -> Packed:
    """Write the archive of a finished study. The same study gives the same bytes.

    Machines are written as digests also where the study names them. allowed: texts that may go out although they look
    like private names. Raises `OffcourseError` when a result is missing or is not what its record and its shard say,
    when the crate is not a copy of the study, and for a private name in any text.
    """
    results, hosts = list(_results(study, layout)), set()
    with tempfile.TemporaryDirectory(prefix="offcourse-share-") as scratch:
        folder, members, listed = Path(scratch), {}, []
        for model, step, unit, known in results:
            key, suffix = known["key"], STEPS[step].suffix
            store = ShardStore(layout.store)
            place = f"{STORE}/{key[:2]}/{key}"
            members[place + suffix] = store.path(key, suffix)
            notes = {f"{place}.json": store.note(key, suffix), f"{RECORDS}/{model}/{step}/{unit}.json": known}
            for name, note in notes.items():
                members[name] = _hidden(note, folder / name, layout.base, hosts)
            listed.append({"model": model, "step": step, "unit": unit, "key": key})
        crate = _crate(study, registry, layout)
        for name, source in crate.items():
            members[name] = source
            if name.startswith(f"{CRATE}/provenance/"):
                members[name] = _hidden(read_sealed(source), folder / name, layout.base, hosts)
        search = Search(private_names(layout.base, hosts), allowed)
        for name, source in sorted(members.items()):
            search.refuse(name, source)
        state = git_state()
        manifest = {
            "format": FORMAT,
            "offcourse": {"version": __version__, "commit": state["commit"], "dirty": state["dirty"]},
            "study": study.study,
            "results": listed,
            "floors": _floors(study, layout),
            "members": {
                name: {"size": source.stat().st_size, "sha256": sha256(source)}
                for name, source in sorted(members.items())
            },
        }
        write_sealed(folder / NAME, manifest)
        search.refuse(NAME, folder / NAME)
        # What another lab could not read is not sent.
        read_manifest(folder / NAME, str(out))
        write_archive(out, folder / NAME, members)
    return Packed(len(listed), len(members), bool(crate), out.stat().st_size)


def _results(study: Study, layout: Layout) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """(model, step, unit, record) of every result of a study; each is what its record and its shard say."""
    store, missing, found = ShardStore(layout.store), [], []
    for model, step, unit in units_of(study):
        record = layout.record(step.name, model, unit)
        artefact = layout.artefact(step.name, step.suffix, model, unit)
        if record.exists() and artefact.exists():
            found.append((model, step, unit, record, artefact))
        else:
            missing.append(record if artefact.exists() else artefact)
    if missing:
        raise OffcourseError(
            f"study {study.study} is not finished: {len(missing)} files of results are missing, the first is "
            f"{missing[0]}. Nothing was written. Run the workflow, then pack."
        )
    for model, step, unit, record, artefact in found:
        known = read_record(record)
        why = store.damage(known["key"], step.suffix)
        digests = {known_sha256(artefact), *known["outputs"].values()}
        if not why and digests != {store.note(known["key"], step.suffix)["sha256"]}:
            why = f"{artefact}, its record and its shard do not have the same content"
        if why:
            raise OffcourseError(f"{why}. Nothing was written. Run the workflow, which mends it, then pack.")
        yield model, step.name, unit, known


def _hidden(note: Mapping[str, Any], target: Path, base: Path, hosts: set[str]) -> Path:
    """Write a record or a shard's note to `target`, its machine as a digest; a name that it had goes into `hosts`."""
    made = note.get("made") or {}
    if not str(made.get("host", MARK)).startswith(MARK):
        hosts.add(made["host"])
    write_sealed(target, {**note, "made": made_as("digest", base, made)})
    return target


def _crate(study: Study, registry: Registry, layout: Layout) -> dict[str, Path]:
    """{path in the archive: file} of a study's crate; nothing where there is none yet."""
    folder = layout.results / "ro-crate"
    if not (folder / "ro-crate-metadata.json").exists():
        return {}
    if wrong := Evidence(study, registry, layout).of_crate():
        raise OffcourseError(f"{wrong[0]}. Nothing was written. Run the workflow, which makes the crate, then pack.")
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {f"{CRATE}/{path.relative_to(folder).as_posix()}": path for path in files}


def _floors(study: Study, layout: Layout) -> dict[str, dict[str, Any]]:
    """{model: precision and rounding floor} as each `model.json` states them; none where a model was not checked."""
    found = {}
    for model in study.models:
        path = layout.results / model / "model.json"
        if not path.exists():
            continue
        try:
            floor = floor_of(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise OffcourseError(
                f"{path} is not what was written ({type(error).__name__}). Nothing was written. Run the workflow, "
                "which makes it again, then pack."
            ) from error
        found |= {model: floor} if floor else {}
    return found
