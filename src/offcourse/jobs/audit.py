"""Audit: hash the whole chain behind a table or figure again, from its files down to the weights."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from offcourse.artefacts import sha256
from offcourse.errors import OffcourseError, did_you_mean
from offcourse.jobs.drawings import drawings_of
from offcourse.jobs.status import drawing_reasons, step_reasons
from offcourse.jobs.steps import STEPS, steps_of
from offcourse.layout import Layout
from offcourse.models.fetch import MANIFEST, weights_digest
from offcourse.provenance.records import fingerprint_of, read_record, relative
from offcourse.registry import Registry
from offcourse.store.shards import Store
from offcourse.study.config import Study

INTACT, STALE, MISSING, TAMPERED, UNRECORDED = "intact", "stale", "missing", "tampered", "unrecorded"
# Folders of a study that hold no result.
OTHER = ("logs", "provenance", "ro-crate")


@dataclass(frozen=True)
class Finding:
    """One file of a chain. state: intact, stale (made from something that changed since), missing, tampered (not what
    was written) or unrecorded; why: in words, empty when intact.
    """

    path: str
    state: str
    why: str = ""

    def as_dict(self) -> dict[str, str]:
        """Plain JSON."""
        return asdict(self)


class Audit:
    """The records of one study, and what they say of files.

    weights: hash prepared models too, which takes most of the time; without it their manifests are taken at their word.
    """

    def __init__(self, study: Study, registry: Registry, layout: Layout, weights: bool = True):
        self.study, self.registry, self.layout, self.weights = study, registry, layout, weights
        self.records: dict[Path, dict[str, Any]] = {}
        self.broken: dict[Path, str] = {}
        self.producers: dict[str, Path] = {}
        self._hashes: dict[Path, str] = {}
        for path in sorted((layout.results / "provenance").rglob("*.json")):
            try:
                self.records[path] = record = read_record(path)
            except OffcourseError as error:
                self.broken[path] = str(error)
            else:
                self.producers |= dict.fromkeys(record["outputs"], path)

    def names(self) -> dict[str, list[str]]:
        """What can be audited by name: tables, figures, a figure's pages and the report, with their files."""
        found: dict[str, list[str]] = {}
        for drawing in drawings_of(self.study, self.registry).values():
            for model in drawing.instances(self.study):
                for output in drawing.outputs(self.study, self.registry, model):
                    path = Path(output)
                    stem = path.with_suffix("") if path.parts[0] in ("tables", "figures") else path
                    inner = stem.parts[1:] if path.parts[0] in ("tables", "figures") else stem.parts
                    for name in {inner[0], "/".join(inner)}:
                        found.setdefault(name.removesuffix(".html"), []).append(
                            self._path(self.layout.results / output)
                        )
        return found

    def chain(self, name: str) -> list[Finding]:
        """Everything behind one table or figure. Raises `OffcourseError` for a name that the study does not have."""
        known = self.names()
        if name not in known:
            raise OffcourseError(f"study {self.study.study} has no {name!r}: {did_you_mean(name, known)}")
        return self._visit(known[name])

    def everything(self) -> list[Finding]:
        """Every result of the study, and every file in its folder that no record names."""
        expected = [path for paths in self.names().values() for path in paths]
        for model in self.study.models:
            for step in steps_of(self.study).values():
                for unit in step.units(self.study):
                    expected.append(self._path(self.layout.artefact(step.name, step.suffix, model, unit)))
        found = self._visit(dict.fromkeys(expected))
        seen = {finding.path for finding in found}
        for path in sorted(self.layout.results.rglob("*")):
            inside = path.relative_to(self.layout.results)
            name = self._path(path)
            if path.is_dir() or inside.parts[0] in OTHER or name in seen or path.name.startswith("."):
                continue
            why = "no rule of this study makes it" if name in self.producers else "no record names it"
            found.append(Finding(name, STALE if name in self.producers else UNRECORDED, why))
        for path, record in self.records.items():
            if not any((self.layout.base / output).exists() for output in record["outputs"]):
                found.append(Finding(self._path(path), MISSING, "none of the files that this record is about is there"))
        return found

    def _visit(self, paths: Iterable[str]) -> list[Finding]:
        """The files, what they were made from, and so on; each once."""
        findings = {self._path(path): Finding(self._path(path), TAMPERED, why) for path, why in self.broken.items()}
        waiting = list(paths)
        while waiting:
            path = waiting.pop(0)
            if path in findings:
                continue
            producer = self.producers.get(path)
            if producer is None:
                findings |= {finding.path: finding for finding in self._leaf(path)}
                continue
            record = self.records[producer]
            for output in record["outputs"]:
                findings[output] = self._output(output, record)
            waiting += record["inputs"]
            findings |= {finding.path: finding for finding in self._shard(record)}
        return list(findings.values())

    def _output(self, path: str, record: dict[str, Any]) -> Finding:
        file = self.layout.base / path
        if not file.exists():
            return Finding(path, MISSING, "the file is gone")
        if self._sha256(file) != record["outputs"][path]:
            return Finding(path, TAMPERED, "the file is not what its record says")
        for source, digest in record["inputs"].items():
            read = self.layout.base / source
            if read.exists() and self._sha256(read) != digest:
                return Finding(path, STALE, f"{source} is not what this was made from")
        why = self._reasons(record)
        return Finding(path, STALE, "; ".join(why)) if why else Finding(path, INTACT)

    def _reasons(self, record: dict[str, Any]) -> list[str]:
        """What changed in code, packages and settings since a record was written, as `offcourse status` has it."""
        given = (self.study, self.registry, self.layout)
        if "step" in record:
            known = record["step"] in steps_of(self.study) and record["model"] in self.study.models
            if not known or record["task"] not in STEPS[record["step"]].units(self.study):
                return ["the study no longer has it"]
            return step_reasons(STEPS[record["step"]], *given, record["model"], record["task"], shard=False)
        drawings = drawings_of(self.study, self.registry)
        model = record["wildcards"].get("model")
        if record["rule"] not in drawings or (model and model not in self.study.models):
            return ["the study no longer has it"]
        return drawing_reasons(drawings[record["rule"]], *given, model)

    def _shard(self, record: dict[str, Any]) -> Iterator[Finding]:
        if "key" not in record:
            return
        store = Store(self.layout.store)
        suffix = STEPS[record["step"]].suffix
        path = self._path(store.path(record["key"], suffix))
        if damage := store.damage(record["key"], suffix):
            yield Finding(path, TAMPERED if store.path(record["key"], suffix).exists() else MISSING, damage)
        else:
            yield Finding(path, INTACT)

    def _leaf(self, path: str) -> Iterator[Finding]:
        """A file that no job of the study made: a prepared model, or a download."""
        file = self.layout.base / path
        if not file.exists():
            yield Finding(path, MISSING, "the file is gone")
        elif file.name == MANIFEST:
            yield from self._model(file)
        elif pinned := self._pinned(path):
            good = self._sha256(file) == pinned
            yield Finding(path, INTACT if good else TAMPERED, "" if good else "not the sha256 of sources.tsv")
        else:
            yield Finding(path, UNRECORDED, "no record says how it was made")

    def _pinned(self, path: str) -> str | None:
        release = self._path(self.layout.downloads / "release") + "/"
        spec = path.removeprefix(release)
        return next((source.sha256 for source in self.registry.sources.values() if source.spec == spec), None)

    def _model(self, manifest: Path) -> Iterator[Finding]:
        """A manifest, and every file of the prepared folder that it names."""
        name = self._path(manifest)
        try:
            files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
            named = weights_digest(manifest.parent)
        except (ValueError, KeyError, OffcourseError):
            yield Finding(name, TAMPERED, "it is not the manifest of a prepared model")
            return
        used = {
            record["parts"]["weights"]
            for record in self.records.values()
            if "parts" in record and self._path(self.layout.model_folder(record["model"]) / MANIFEST) == name
        }
        wrong = used - {named}
        yield Finding(name, TAMPERED if wrong else INTACT, "results were made with other weights" if wrong else "")
        for file, expected in files.items() if self.weights else ():
            path = manifest.parent / file
            if not path.exists():
                yield Finding(self._path(path), MISSING, "the file is gone")
            else:
                good = self._sha256(path) == expected
                yield Finding(self._path(path), INTACT if good else TAMPERED, "" if good else "not what was prepared")

    def fingerprint(self, name: str) -> str:
        """The digest of the code that drew a table or figure."""
        codes = {
            fingerprint_of(self.records[self.producers[path]]["code"])
            for path in self.names()[name]
            if path in self.producers
        }
        return ", ".join(sorted(codes))

    def _sha256(self, path: Path) -> str:
        if path not in self._hashes:
            self._hashes[path] = sha256(path)
        return self._hashes[path]

    def _path(self, path: Path) -> str:
        return relative(path, self.layout.base)
