"""What vouches for a file beside its own record: its shard, the records of what was made from it, the files themselves.

A record that was changed together with its file fits it. Its shard and the records of later jobs do not fit then,
unless they were changed as well.
"""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from offcourse.data.fetched import fetched_path, is_fetched, pinned_files
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.files import known_sha256
from offcourse.graph.keys import FETCHED, Step, prepared_from
from offcourse.graph.study_files import CONFIGURATION, WORKFLOW, crate_files
from offcourse.layout import Layout
from offcourse.models.local import another
from offcourse.models.manifest import MANIFEST, changes, read_manifest
from offcourse.provenance.records import located, origin_of, read_record, relative
from offcourse.store.sealed_json import digest
from offcourse.store.shards import ShardStore
from offcourse.study.config import Study


class Evidence:
    """What the records, the store and the prepared models below one folder say of the files of a study.

    records: the records of the study that can be read, by path, from a caller that has read them.
    """

    def __init__(
        self, study: Study, registry: Registry, layout: Layout, records: Mapping[Path, dict[str, Any]] | None = None
    ):
        self.study, self.registry, self.layout, self._records = study, registry, layout, records
        self.store = ShardStore(layout.store)

    @cached_property
    def _sound(self) -> Mapping[Path, dict[str, Any]]:
        """The records of the study that can be read, by path."""
        return self._records or readable(self.layout)

    def record(self, path: Path) -> dict[str, Any]:
        """The record at a path. Raises `OffcourseError` as `read_record` does."""
        return self._sound.get(path) or read_record(path)

    @cached_property
    def _read(self) -> dict[str, list[tuple[str, str, str]]]:
        """By file: the record of each job that read it, the sha256 that it read, and the origin of the file then."""
        found: dict[str, list[tuple[str, str, str]]] = {}
        for path, record in self._sound.items():
            origins = record.get("origins")
            for file, origin in origins.items() if isinstance(origins, dict) else ():
                if sha := record["inputs"].get(file):
                    found.setdefault(file, []).append((self.path(path), sha, origin))
        return found

    def path(self, path: Path) -> str:
        """A path as records write it."""
        return relative(path, self.layout.base)

    def contradicted(self, known: Mapping[str, Any], record: Path) -> dict[str, str]:
        """The files of a job that a later one read with another content though of the same making, and its record."""
        origin = origin_of(known)
        found = {
            file: f"{reader} read another content of {file}, made from the same"
            for file, now in known["outputs"].items()
            for reader, sha, its in self._read.get(file, ())
            if its == origin and sha != now
        }
        copy = self.layout.results / "ro-crate" / record.relative_to(self.layout.results)
        if "key" in known or not copy.exists() or known_sha256(copy) == known_sha256(record):
            return found
        with suppress(OffcourseError):
            # A job that ran again began at another time.
            copied = read_record(copy)
            if copied["made"].get("started") == known["made"].get("started") and copied != known:
                found[self.path(record)] = f"the study's crate has another {self.path(record)} of the same job"
        return found

    def against_shard(self, step: Step, known: Mapping[str, Any]) -> list[str]:
        """What a result's record and its shard disagree about."""
        if damage := self.store.damage(known["key"], step.suffix):
            return [f"its shard is damaged: {damage}"]
        note = self.store.note(known["key"], step.suffix)
        if list(known["outputs"].values()) != [note["sha256"]]:
            return [f"it is not what its shard {self.path(self.store.path(known['key'], step.suffix))} holds"]
        return [] if _same_making(note, known) else ["its record and its shard say different things of its making"]

    def distrusted(self, step: Step, known: Mapping[str, Any], record: Path) -> bool:
        """Whether a result's shard must not be used: two records of one making differ, and one of them is not true."""
        if self.store.damage(known["key"], step.suffix):
            return False
        note = self.store.note(known["key"], step.suffix)
        differ = list(known["outputs"].values()) != [note["sha256"]]
        # A shard of another making is a later one, of another study.
        return (differ and _same_making(note, known)) or bool(self.contradicted(known, record))

    def of_model(self, model: str) -> list[str]:
        """Why a prepared model is not the one that the study was made with, or its folder not what was prepared."""
        receipt, folder = self.layout.receipt(model), self.layout.model_folder(model)
        if not receipt.exists():
            return ["not made yet"]
        try:
            manifest, wrong = read_manifest(folder), changes(folder)
        except OffcourseError as error:
            return [str(error)]
        asked = prepared_from(self.registry, model)
        if manifest["asked"] != asked:
            return [f"source of {model}: {manifest['asked'] or 'unknown'} -> {asked}"]
        if receipt.read_bytes() != (folder / MANIFEST).read_bytes():
            return [f"{self.path(receipt)} is not the manifest of {self.path(folder)}"]
        changed = [f"{self.path(folder / name)}: {why}" for name, why in wrong.items()]
        return changed or self.of_origin(model)

    def of_origin(self, model: str) -> list[str]:
        """How the user's own files of a `local` model differ from what was prepared; empty for any other model."""
        try:
            return another(self.registry.model(model), self.layout.model_folder(model), self.layout.base)
        except OffcourseError as error:
            return [str(error)]

    def forged_model(self, model: str) -> bool:
        """Whether a folder names other files than the study was made with, though it was prepared from the same.

        A `local` model is the user's own and may be another one now.
        """
        receipt, folder = self.layout.receipt(model), self.layout.model_folder(model)
        if self.registry.model(model).source == "local":
            return False
        try:
            was, now = json.loads(receipt.read_text(encoding="utf-8")), read_manifest(folder)
            return was["asked"] == now["asked"] and was["files"] != now["files"]
        except (OffcourseError, OSError, ValueError, RecursionError, KeyError, TypeError):
            return False

    def of_downloads(self, rule: str) -> list[str]:
        """Why the files that `fetch_words` or `fetch_questions` fetches are not there as they are pinned."""
        specs, receipt = FETCHED[rule](self.study, self.registry), self.layout.fetched(rule)
        if not receipt.exists():
            return ["not made yet"]
        if receipt.read_bytes() != pinned_files(specs).encode():
            return [f"{self.path(receipt)} lists other files"]
        downloads = self.layout.downloads
        return [
            f"{self.path(fetched_path(spec, downloads))} is missing or has another sha256 than when it was pinned"
            for spec in specs
            if not is_fetched(spec, downloads)
        ]

    def of_crate(self) -> list[str]:
        """Which copies in the study's crate are not their originals, and which entities name another sha256."""
        folder, results = self.layout.results / "ro-crate", self.layout.results
        copies = [name for name in crate_files(self.study, self.registry) if name not in (WORKFLOW, CONFIGURATION)]
        found = [
            f"{self.path(folder / name)} is not a copy of {self.path(results / name)}"
            for name in copies
            if (folder / name).exists()
            and (results / name).exists()
            and known_sha256(folder / name) != known_sha256(results / name)
        ]
        metadata = folder / "ro-crate-metadata.json"
        try:
            entities = json.loads(metadata.read_text(encoding="utf-8"))["@graph"]
            said = {entity["@id"]: entity for entity in entities}
        except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
            return [f"{self.path(metadata)} is not the metadata of a crate ({type(error).__name__})"]
        return found + [
            f"{self.path(metadata)} has another sha256 of {name}"
            for name in copies
            if (sha := said.get(name, {}).get("sha256")) and (results / name).exists()
            if sha != known_sha256(results / name)
        ]


def readable(layout: Layout) -> dict[Path, dict[str, Any]]:
    """The records of a study that are not damaged, by path."""
    found = {}
    for path in sorted((layout.results / "provenance").rglob("*.json")):
        with suppress(OffcourseError):
            found[path] = read_record(path)
    return found


def misstated(step: Step, known: Mapping[str, Any], record: Path, study: Study) -> list[str]:
    """What a result's record says in two places, and differently."""
    parts, code = known["parts"], known["code"]
    pairs = {
        "key": (known["key"], digest(parts)),
        "parameters": (known["parameters"], parts.get("parameters")),
        "code": (code["modules"], parts["code"]),
        "packages": (code["packages"], parts.get("packages")),
        "task": ((known["step"], known["task"]), (parts.get("step"), parts.get("task"))),
        "place": ((known["study"], known["model"], known["step"], known["rule"]), _place(study, step, record)),
        "wildcards": (known["wildcards"], {"model": known["model"]}),
    }
    return [f"its record says two different things: {name}" for name, (one, other) in pairs.items() if one != other]


def _same_making(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two notes are of the same computation. `provenance.host` decides how each writes the machine's name."""
    first, second = ({name: note["made"][name] for name in note["made"].keys() - {"host"}} for note in (one, other))
    return first == second


def _place(study: Study, step: Step, record: Path) -> tuple[str, str, str, str]:
    return study.study, record.parts[-3], record.parts[-2], step.rule


def not_as_read(known: Mapping[str, Any], layout: Layout, repaired: Collection[Path] = ()) -> list[str]:
    """Which files a job read that are others now, or gone. repaired: those that will be what they were."""
    return [
        f"{name} is not what this was made from"
        for name, sha in known["inputs"].items()
        if (path := located(name, layout.base)) not in repaired and (not path.exists() or known_sha256(path) != sha)
    ]
