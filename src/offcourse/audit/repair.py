"""Repair of a study: mend from the store what can be, and list for a new run what else is not intact.

Whatever `offcourse status` calls stale is on the list, so that the next run makes it again, whatever Snakemake itself
noticed.
"""

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from filelock import Timeout

from offcourse.audit.evidence import Evidence
from offcourse.audit.status import PREPARE, State, can_repair, status
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.files import locked, scratch_of, sweep
from offcourse.graph.keys import FETCHED, STEPS, Step, units_of
from offcourse.graph.products import PRODUCTS
from offcourse.graph.study_files import job_outputs
from offcourse.layout import Layout
from offcourse.models.fetch import RESUMED
from offcourse.models.manifest import MANIFEST
from offcourse.provenance.records import read_record
from offcourse.store.shards import OTHERS, copy_whole
from offcourse.study.config import Study


def heal(study: Study, registry: Registry, layout: Layout, change: bool) -> list[Path]:
    """Mend a study as far as that needs no job, and return the files that only a new run of their rule can make.

    A result whose shard is intact is copied from it, a shard whose result is intact is put back. A shard or a prepared
    model that other records contradict is removed, so that it is made from nothing. What killed runs left is removed.
    All with a message, and only if `change` (in a dry run the message says what would be done).
    """
    if change:
        _sweep(study, registry, layout)
    evidence, repaired = Evidence(study, registry, layout), set()
    for model, step, unit in units_of(study):
        if can_repair(step, evidence, model, unit, repaired):
            repaired.add(_repair(step, evidence, model, unit, change))
    again = [state for state in status(study, registry, layout) if state.job]
    for state in again:
        _distrust(state, evidence, change)
    return [path for state in again for path in _files(state, study, registry, layout)]


def _repair(step: Step, evidence: Evidence, model: str, unit: str, change: bool) -> Path:
    """Copy a damaged result from its shard, or put a damaged shard back from its result; the result's path."""
    layout, store = evidence.layout, evidence.store
    artefact, record = layout.artefact(step.name, step.suffix, model, unit), layout.record(step.name, model, unit)
    known = read_record(record)
    if damage := store.damage(known["key"], step.suffix):
        _say(f"{damage}: the shard {_tense(change)} put back from {artefact}, which is intact.")
        if change:
            store.put(known["parts"], step.suffix, lambda path: shutil.copyfile(artefact, path), known["made"])
        return artefact
    _say(f"{artefact} differs from its record: it {_tense(change)} copied from its shard.")
    if change:
        copy_whole(store.path(known["key"], step.suffix), artefact)
    # Restore the old mtime, so that downstream files do not look outdated. Do it in a dry run too, or
    # `snakemake -n` would list jobs that the real run does not need.
    times = record.stat()
    os.utime(artefact, ns=(times.st_mtime_ns, times.st_mtime_ns))
    return artefact


def _distrust(state: State, evidence: Evidence, change: bool) -> None:
    """Remove what would give back the very content that other records contradict."""
    layout = evidence.layout
    if state.step == PREPARE and evidence.forged_model(state.model):
        folder = layout.model_folder(state.model)
        _say(f"{folder} holds other files than the study was made with: it {_tense(change)} prepared from nothing.")
        if change:
            (folder / MANIFEST).unlink(missing_ok=True)
    if state.step not in STEPS:
        return
    step, record = STEPS[state.step], layout.record(state.step, state.model, state.unit)
    try:
        known = read_record(record)
    except OffcourseError:
        return
    if evidence.distrusted(step, known, record):
        _say(f"{record} and what other records say contradict each other: the result {_tense(change)} computed again.")
        if change:
            evidence.store.drop(known["key"], step.suffix)


def _files(state: State, study: Study, registry: Registry, layout: Layout) -> list[Path]:
    """The files of one state."""
    if state.step == PREPARE:
        return [layout.receipt(state.model)]
    if state.step in FETCHED:
        return [layout.fetched(state.step)]
    if state.step in STEPS:
        return [layout.artefact(state.step, STEPS[state.step].suffix, state.model, state.unit)]
    product, model = PRODUCTS[state.step], state.model or None
    return [layout.results / path for path in job_outputs(product, study, registry, model)]


def _sweep(study: Study, registry: Registry, layout: Layout) -> None:
    """Remove what killed runs left: unfinished files, and preparations that no run of this study resumes."""
    for folder in (layout.store, layout.results, layout.downloads):
        for path in sweep(folder):
            _say(f"removed {path}, which a killed run left.")
    for path in layout.store.with_name(OTHERS).glob(".merge.*"):
        shutil.rmtree(path, ignore_errors=True)
        _say(f"removed {path}, which a killed `offcourse share merge` left.")
    models = layout.model_folder("model").parent
    for name in sorted({path.name[1:].rsplit(".", 1)[0] for path in models.glob(".*.*") if path.suffix in LEFT}):
        folder = models / name
        resumed = name in study.models and registry.model(name).source in RESUMED
        # Another program may be preparing it.
        with suppress(Timeout), locked(folder, timeout=0):
            if scratch_of(folder).exists() and not resumed:
                shutil.rmtree(scratch_of(folder), ignore_errors=True)
                _say(f"removed {scratch_of(folder)}, which a killed run left.")


# Suffixes of a scratch folder and of its lock.
LEFT = (".part", ".lock")


def _tense(change: bool) -> str:
    return "is" if change else "would be"


def _say(text: str) -> None:
    print(f"offcourse: {text}", file=sys.stderr, flush=True)
