"""Audit: hash every file behind a table or figure again, from its own files down to the weights (the chain)."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from offcourse.archive.manifest import MANIFEST as MANIFEST_OF_RELEASE
from offcourse.archive.manifest import read_manifest
from offcourse.archive.packed import damage
from offcourse.audit.evidence import Evidence, misstated
from offcourse.audit.finding import INTACT, MISSING, STALE, TAMPERED, UNRECORDED, Finding, damaged
from offcourse.audit.hashing import Hashing
from offcourse.audit.release_changes import changes as released_changes
from offcourse.audit.status import inputs_of, product_changes, step_changes
from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError, did_you_mean
from offcourse.files import known_sha256
from offcourse.graph.keys import STEPS, steps_of
from offcourse.graph.products import products_of
from offcourse.graph.release_rules import NAME as RELEASE
from offcourse.graph.release_rules import ON_DEMAND
from offcourse.graph.study_files import job_outputs
from offcourse.layout import Layout
from offcourse.models.manifest import MANIFEST, changes
from offcourse.models.manifest import read_manifest as read_prepared
from offcourse.provenance.records import OlderRecordError, fingerprint_of, located, read_record, relative
from offcourse.store.shards import ShardStore
from offcourse.study.config import Study

# Folders of a study without results.
OTHER = ("logs", "benchmarks", "provenance")


class Audit:
    """Compares the files of one study with its records.

    weights: whether prepared models are hashed too, which takes most of the time; if not, their manifests are trusted.
    """

    def __init__(
        self,
        study: Study,
        registry: Registry,
        layout: Layout,
        weights: bool = True,
        hashing: Hashing | None = None,
    ):
        self.study, self.registry, self.layout, self.weights = study, registry, layout, weights
        self.records: dict[Path, dict[str, Any]] = {}
        self.broken: dict[Path, Finding] = {}
        self.producers: dict[str, Path] = {}
        self._paths: dict[Path, str] = {}
        self._released = Layout(RELEASE, layout.base)
        self._read: set[Layout] = set()
        self._read_records(layout)
        self.expected = self._expected()
        self._stale: dict[Path, str] = {}
        self._against: dict[Path, dict[str, str]] = {}
        self._models: dict[Path, list[Finding]] = {}
        self.evidence = Evidence(study, registry, layout, dict(self.records)) if study else None
        self._hashing = hashing or Hashing()

    def _read_records(self, layout: Layout) -> None:
        self._read.add(layout)
        for path in sorted((layout.results / "provenance").rglob("*.json")):
            try:
                self.records[path] = record = read_record(path)
            except OffcourseError as error:
                state = STALE if isinstance(error, OlderRecordError) else TAMPERED
                self.broken[path] = Finding(self.path(path), state, str(error))
            else:
                self.producers |= dict.fromkeys(record["outputs"], path)

    def _producer(self, path: str) -> Path | None:
        """The record of the job that made a file. The release's records are read when a chain first needs one."""
        folder = self.path(self._released.results) + "/"
        if path.startswith(folder) and self._released not in self._read:
            self._read_records(self._released)
        return self.producers.get(path)

    def _expected(self) -> dict[str, tuple[Path, list[str]]]:
        """{result that the study should have: (path of its record, results it is made from)}."""
        found: dict[str, tuple[Path, list[str]]] = {}
        layout = self.layout
        for model in self.study.models:
            manifest = layout.model_folder(model) / MANIFEST
            for step in steps_of(self.study, model).values():
                for unit in step.units(self.study):
                    inputs = [
                        layout.artefact(up, STEPS[up].suffix, model, its)
                        for up, its in step.upstream(self.study, unit).values()
                    ]
                    path = self.path(layout.artefact(step.name, step.suffix, model, unit))
                    record = layout.record(step.name, model, unit)
                    found[path] = record, [self.path(each) for each in (*inputs, manifest)]
        for product in products_of(self.study, self.registry).values():
            for model in product.instances(self.study):
                inputs = inputs_of(product, self.study, layout, model) if product.inputs else []
                for output in job_outputs(product, self.study, self.registry, model):
                    record = layout.rule_record(product.rule, model)
                    found[self.path(layout.results / output)] = record, [self.path(each) for each in inputs]
        # Comparisons with the paper and with the release are made on request, so only existing ones are expected.
        for record in filter(self.records.__contains__, map(layout.rule_record, ON_DEMAND)):
            found |= {path: (record, []) for path in self.records[record]["outputs"]}
        return found

    def _shown(self) -> Iterator[str]:
        """The files of all tables, figures and reports, relative to the study's folder."""
        for product in products_of(self.study, self.registry).values():
            for model in product.instances(self.study):
                yield from job_outputs(product, self.study, self.registry, model)

    @cached_property
    def names(self) -> dict[str, list[str]]:
        """{name: files} of everything that can be audited by name: tables, figures, pages of figures, the report."""
        found: dict[str, list[str]] = {}
        for output in self._shown():
            path = Path(output)
            stem = path.with_suffix("") if path.parts[0] in ("tables", "figures") else path
            inner = stem.parts[1:] if path.parts[0] in ("tables", "figures") else stem.parts
            for name in {inner[0], "/".join(inner)}:
                found.setdefault(name.removesuffix(".html"), []).append(self.path(self.layout.results / output))
        return found

    def files(self, name: str) -> list[str]:
        """The files of a table or figure. Raises `OffcourseError` with a did-you-mean for an unknown name."""
        known = self.names
        if name not in known:
            raise OffcourseError(f"{self.layout.study} has no {name!r}: {did_you_mean(name, known)}")
        return known[name]

    def chain(self, *names: str) -> list[Finding]:
        """Findings on the files of tables or figures, and on every file behind them."""
        return self._visit([path for name in names for path in self.files(name)])

    def behind(self, path: str) -> list[Finding]:
        """Findings on one file, and on every file behind it."""
        return self._visit([path])

    def record_of(self, path: str) -> dict[str, Any]:
        """The record of a result. Raises `OffcourseError` if there is none or it is damaged."""
        if path in self.producers:
            return self.records[self.producers[path]]
        record, _ = self.expected.get(path, (None, None))
        broken = self.broken.get(record)
        raise OffcourseError(broken.why if broken else f"{path} has no record. Run the workflow, which makes both.")

    def everything(self) -> list[Finding]:
        """Findings on every result of the study, and on every file in its folder that no record names."""
        found = list(self.broken.values())
        found += [finding for finding in self._visit(self._wanted()) if finding not in found]
        seen = {finding.path for finding in found}
        for path in sorted(self.layout.results.rglob("*")):
            inside = path.relative_to(self.layout.results)
            name = self.path(path)
            if path.is_dir() or inside.parts[0] in OTHER or name in seen or path.name.startswith("."):
                continue
            why = "no rule of this study makes it" if name in self.producers else "no record names it"
            why += ": remove it, or keep it elsewhere"
            found.append(Finding(name, STALE if name in self.producers else UNRECORDED, why))
        for path, record in self.records.items():
            known = any(output in self.expected for output in record["outputs"])
            what = "run the workflow" if known else "remove it, for no rule of this study makes them"
            if not any(located(output, self.layout.base).exists() for output in record["outputs"]):
                found.append(
                    Finding(self.path(path), MISSING, "none of the files that this record is about is there: " + what)
                )
        return found

    def labs(self) -> dict[tuple[str, str], int]:
        """{(machine, device): number of results} of the study that come from merged archives of other labs."""
        store, found = ShardStore(self.layout.store), Counter()
        for record in self.records.values():
            step = STEPS.get(record.get("step"))
            if step and "key" in record and store.archive_of(record["key"], step.suffix):
                found[record["made"].get("host", "unknown"), record["made"].get("device", "unknown")] += 1
        return dict(found)

    def _wanted(self) -> list[str]:
        """Every file that the study should have, those that no job records included."""
        receipts = map(self.layout.receipt, self.study.models) if self.study else ()
        return [*self.expected, *map(self.path, receipts)]

    def _visit(self, paths: Iterable[str]) -> list[Finding]:
        """Findings on files, on the files they were made from, and so on down to the leaves; one finding per file.

        A leaf is a file that no job of the study made: a prepared model, a download or a tracked table.
        """
        reached = list(self._reached(paths))
        self._begin(path for path, producer in reached if producer is None)
        findings: dict[str, Finding] = {}
        for path, producer in reached:
            if path in findings:
                continue
            if producer is None:
                found = self._unrecorded(path) if path in self.expected else self._leaf(path)
                findings |= {finding.path: finding for finding in found}
                continue
            record = self.records[producer]
            for output in record["outputs"]:
                findings[output] = self._output(output, producer)
            findings |= {finding.path: finding for finding in self._shard(record)}
        return list(findings.values())

    def _reached(self, paths: Iterable[str]) -> Iterator[tuple[str, Path | None]]:
        """Files, those that they were made from, and so on, each once and with the record of the job that made it.

        Of the files of one job the first one stands for all.
        """
        seen: set[str] = set()
        waiting = deque(paths)
        while waiting:
            path = waiting.popleft()
            if path in seen:
                continue
            producer = self._producer(path)
            record = self.records[producer] if producer else {"outputs": (), "inputs": ()}
            seen |= {path, *record["outputs"]}
            waiting += record["inputs"] if producer else self.expected[path][1] if path in self.expected else ()
            yield path, producer

    def begin(self, path: str) -> None:
        """Begin to hash the prepared models behind a file in threads of their own, while the caller does other work."""
        self._begin(leaf for leaf, producer in self._reached([path]) if producer is None)

    def _begin(self, leaves: Iterable[str]) -> None:
        if not self.weights or self.study is None:
            return
        for leaf in leaves:
            path = located(leaf, self.layout.base)
            if path.name == MANIFEST:
                # A study's copy of a manifest lies in a folder of the model's name.
                self._hashing.begin([self.layout.model_folder(path.parent.name)])

    def _unrecorded(self, path: str) -> Iterator[Finding]:
        record, _ = self.expected[path]
        if not located(path, self.layout.base).exists():
            yield Finding(path, MISSING, "it was not made yet, or is gone: run the workflow")
        elif record in self.broken:
            yield self.broken[record]
            yield Finding(path, UNRECORDED, f"its record {self.path(record)} cannot be relied on")
        else:
            why = f"{self.path(record)} is not there, so nothing says how it was made: run the workflow"
            yield Finding(path, UNRECORDED, why)

    def _output(self, path: str, producer: Path) -> Finding:
        file, record = located(path, self.layout.base), self.records[producer]
        if not file.exists():
            return Finding(path, MISSING, "the file is gone")
        if self._sha256(file) != record["outputs"][path]:
            return Finding(path, TAMPERED, "the file is not what its record says")
        if why := self._contradictions(record, producer).get(path):
            return Finding(path, TAMPERED, why)
        if producer not in self._stale:
            changed = [
                f"{source} is not what this was made from"
                for source, digest in record["inputs"].items()
                if (read := located(source, self.layout.base)).exists() and self._sha256(read) != digest
            ]
            self._stale[producer] = "; ".join(changed or self._changes(record, producer))
        why = self._stale[producer]
        return Finding(path, STALE, why) if why else Finding(path, INTACT)

    def _contradictions(self, record: dict[str, Any], producer: Path) -> dict[str, str]:
        """What else than its record speaks against an output, by path."""
        if self.evidence is None or record["study"] != self.study.study or record["rule"] in ON_DEMAND:
            return {}
        if producer not in self._against:
            found = self.evidence.contradicted(record, producer)
            step = STEPS.get(record.get("step"))
            if step and "key" in record and not self.evidence.store.damage(record["key"], step.suffix):
                found = {
                    **dict.fromkeys(record["outputs"], "; ".join(self.evidence.against_shard(step, record))),
                    **found,
                }
            self._against[producer] = found
        return self._against[producer]

    def _changes(self, record: dict[str, Any], producer: Path) -> list[str]:
        """What changed in code, packages and settings since a record was written, as `offcourse status` has it."""
        if record["study"] == RELEASE or record["rule"] in ON_DEMAND:
            return released_changes(record)
        given = (self.study, self.registry, self.layout)
        if "step" in record:
            step = steps_of(self.study, record["model"]).get(record["step"])
            if step is None or record["task"] not in step.units(self.study):
                return ["the study no longer has it"]
            return misstated(step, record, producer, self.study) or step_changes(step, *given, record)
        products = products_of(self.study, self.registry)
        model = record["wildcards"].get("model")
        if record["rule"] not in products or model not in products[record["rule"]].instances(self.study):
            return ["the study no longer has it"]
        changed = product_changes(products[record["rule"]], *given, model, record, self._sha256)
        return changed or (self.evidence.of_crate() if record["rule"] == "ro_crate" else [])

    def _shard(self, record: dict[str, Any]) -> Iterator[Finding]:
        if "key" not in record:
            return
        store = ShardStore(self.layout.store)
        suffix = STEPS[record["step"]].suffix
        path = self.path(store.path(record["key"], suffix))
        if damage := store.damage(record["key"], suffix):
            yield Finding(path, TAMPERED if store.path(record["key"], suffix).exists() else MISSING, damage)
        else:
            yield Finding(path, INTACT)

    def _leaf(self, path: str) -> Iterator[Finding]:
        """Findings on a leaf, a file that no job of the study made: a prepared model, a download or a tracked table."""
        file = located(path, self.layout.base)
        if not file.exists():
            yield Finding(path, MISSING, "the file is gone")
        elif file in self.records:
            why = self._contradictions(self.records[file], file).get(path, "")
            yield Finding(path, TAMPERED if why else INTACT, why)
        elif file in self.broken:
            yield self.broken[file]
        elif self.study is not None and file in map(self.layout.receipt, self.study.models):
            yield from self._receipt(file)
        elif file.name == MANIFEST:
            yield from self._model(file)
        elif pinned := self._pinned(path):
            good = self._sha256(file) == pinned[0]
            yield Finding(path, INTACT if good else TAMPERED, "" if good else f"not the sha256 of {pinned[1]}")
        elif file.absolute().is_relative_to(RESOURCES.absolute()):
            # A tracked table may change at any time; results that were made from its old content are then stale.
            why = damage(file)
            yield Finding(path, TAMPERED if why else INTACT, why)
        else:
            yield Finding(path, UNRECORDED, "no record says how it was made")

    def _pinned(self, path: str) -> tuple[str, str] | None:
        """(sha256 that a downloaded file must have, table that pins it); None for a file without a pin."""
        spec = path.removeprefix(self.path(self.layout.downloads / "release") + "/")
        if spec in self._pins:
            return self._pins[spec], MANIFEST_OF_RELEASE
        known = (source.sha256 for source in self.registry.sources.values() if source.spec == spec)
        return next(((digest, "sources.tsv") for digest in known), None)

    @cached_property
    def _pins(self) -> dict[str, str]:
        """{path: sha256} of the authors' released files."""
        return {spec: row.sha256 for spec, row in read_manifest().items()} if self._released in self._read else {}

    def _model(self, manifest: Path) -> list[Finding]:
        """Findings on the manifest of a prepared model, and on every file that the manifest names."""
        # A cell's lineage follows the chain of each result anew; the weights, its longest part, are hashed once.
        if manifest not in self._models:
            self._models[manifest] = list(self._prepared(manifest))
        return self._models[manifest]

    def _prepared(self, manifest: Path) -> Iterator[Finding]:
        name = self.path(manifest)
        try:
            files, named = (noted := read_prepared(manifest.parent))["files"], noted["digest"]
        except OffcourseError as error:
            yield Finding(name, TAMPERED, str(error))
            return
        used = {
            record["source"]["weights"]
            for record in self.records.values()
            if "parts" in record and self.path(self.layout.model_folder(record["model"]) / MANIFEST) == name
        }
        wrong = used - {named}
        why = "results were made with other weights" if wrong else ""
        if not why and self.evidence and manifest.parent.name in self.study.models:
            why = "; ".join(self.evidence.of_origin(manifest.parent.name))
        yield Finding(name, STALE if why else INTACT, why)
        # This hashes what was touched since its last hashing. Nothing else vouches for the rest: it is all hashed.
        bad = changes(manifest.parent)
        if self.weights:
            bad |= self._hashing.wrong(manifest.parent, files, bad)
        for file in dict.fromkeys([*files, *bad]):
            path = manifest.parent / file
            state = INTACT if file not in bad else TAMPERED if path.exists() else MISSING
            yield Finding(self.path(path), state, bad.get(file, ""))

    def _receipt(self, receipt: Path) -> Iterator[Finding]:
        """The study's copy of a manifest, and the prepared model that it is about."""
        manifest = self.layout.model_folder(receipt.parent.name) / MANIFEST
        if manifest.exists():
            why = ""
            try:
                read_prepared(receipt.parent)
                with suppress(OffcourseError):
                    if read_prepared(manifest.parent) and receipt.read_bytes() != manifest.read_bytes():
                        why = f"it is not the content of {self.path(manifest)}"
            except OffcourseError:
                why = "it is not what was written"
            yield Finding(self.path(receipt), TAMPERED if why else INTACT, why)
            yield from self._model(manifest)
        else:
            yield Finding(self.path(receipt), INTACT)
            yield Finding(self.path(manifest), MISSING, "the file is gone")

    def fingerprint(self, name: str) -> str:
        """The digest of the code that drew a table or figure."""
        codes = {
            fingerprint_of(self.records[self.producers[path]]["code"])
            for path in self.files(name)
            if path in self.producers
        }
        return ", ".join(sorted(codes))

    def summary(self, name: str) -> dict[str, str]:
        """The report's line on a table or figure: `command` that audits it, fingerprint of its `code`, and `state`."""
        wrong = [finding for finding in self.chain(name) if finding.state != INTACT]
        state = f"{len(wrong)} files behind it were not intact" if wrong else "intact"
        if wrong and not damaged(wrong):
            state = f"intact, but for {len(wrong)} files what they are made with has changed"
        return {
            "command": f"offcourse audit {name}",
            "code": self.fingerprint(name),
            "state": f"{state} when this report was made",
        }

    def _sha256(self, path: Path) -> str:
        return known_sha256(path)

    def path(self, path: Path) -> str:
        """A file's path as records and findings write it: relative to the working directory."""
        if path not in self._paths:
            self._paths[path] = relative(path, self.layout.base)
        return self._paths[path]
