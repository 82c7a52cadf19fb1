"""Repair of damaged results: intact copies replace damaged files, and files without a copy are listed for a new run."""

import os
import sys
from pathlib import Path

from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.files import sha256
from offcourse.graph.keys import Step, steps_of
from offcourse.graph.products import products_of
from offcourse.layout import Layout
from offcourse.provenance.records import read_record, relative
from offcourse.store.shards import ShardStore, copy_whole
from offcourse.study.config import Study


def repair(study: Study, registry: Registry, layout: Layout, change: bool) -> list[Path]:
    """Find results that differ from their records, and shards that are damaged or missing, and repair them.

    A damaged result is copied from its intact shard, and a damaged shard from its intact result. Each repair prints a
    message; without `change` (a dry run) the message says what would be done. Returns the files that only a new run of
    their rule can make: results whose shard is damaged as well, and damaged files of tables and figures.
    """
    again = []
    for model in study.models:
        for step in steps_of(study, model).values():
            for unit in step.units(study):
                if not _repair_result(step, layout, model, unit, change):
                    again.append(layout.artefact(step.name, step.suffix, model, unit))
    for product in products_of(study, registry).values():
        for model in product.instances(study):
            outputs = [layout.results / path for path in product.outputs(study, registry, model)]
            again += _changed(outputs, layout.rule_record(product.rule, model), layout)
    return again


def _repair_result(step: Step, layout: Layout, model: str, unit: str, change: bool) -> bool:
    """Whether one result and its shard are intact or one can be copied from the other, which is then done."""
    artefact, record = layout.artefact(step.name, step.suffix, model, unit), layout.record(step.name, model, unit)
    if not artefact.exists() or not record.exists():
        return True  # Snakemake itself notices a missing file.
    try:
        known = read_record(record)
    except OffcourseError as error:
        _say(f"{error} {artefact} is made again.")
        return False
    store = ShardStore(layout.store)
    damage = store.damage(known["key"], step.suffix)
    if sha256(artefact) != known["outputs"].get(relative(artefact, layout.base)):
        if damage:
            _say(f"{artefact} differs from its record, and so does its shard ({damage}). It is made again.")
            return False
        _say(f"{artefact} differs from its record: it {_tense(change)} copied from its shard.")
        if change:
            copy_whole(store.find(known["key"], step.suffix), artefact)
        # Restore the old mtime, so that downstream files do not look outdated. Do it in a dry run too, or
        # `snakemake -n` would list jobs that the real run does not need.
        times = record.stat()
        os.utime(artefact, ns=(times.st_mtime_ns, times.st_mtime_ns))
    elif damage:
        _say(f"{damage}: the shard {_tense(change)} put back from {artefact}, which is intact.")
        if change:
            store.put(known["parts"], step.suffix, lambda path: path.write_bytes(artefact.read_bytes()), known["made"])
    return True


def _changed(outputs: list[Path], record: Path, layout: Layout) -> list[Path]:
    """The files among `outputs` that exist and differ from their record."""
    if not record.exists():
        return []
    try:
        written = read_record(record)["outputs"]
    except OffcourseError as error:
        _say(f"{error} What it is about is made again.")
        return outputs
    changed = [path for path in outputs if path.exists() and sha256(path) != written.get(relative(path, layout.base))]
    for path in changed:
        _say(f"{path} differs from its record: it is made again.")
    return changed


def _tense(change: bool) -> str:
    return "is" if change else "would be"


def _say(text: str) -> None:
    print(f"offcourse: {text}", file=sys.stderr, flush=True)
