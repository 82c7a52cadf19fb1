"""Running one job: a step on one model, for all units (tasks or question sets). Only missing shards are computed."""

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from offcourse.data.registry import Registry
from offcourse.data.rows import QuestionSet, Task
from offcourse.graph.keys import STEPS, Step, key_parts, leaf_files, prepared_from
from offcourse.layout import Layout
from offcourse.models.manifest import MANIFEST, OpenedModel, weights_digest
from offcourse.provenance.records import Stopwatch, code_behind, hashes, origins, write_record
from offcourse.provenance.sharing import host_as, made_as, repository
from offcourse.run.cards import require_usable
from offcourse.run.context import StepContext
from offcourse.run.heartbeat import heartbeat
from offcourse.run.plain_context import context_of
from offcourse.store.fingerprint import freeze_imports, script_digest
from offcourse.store.sealed_json import digest
from offcourse.store.shards import ShardStore, copy_whole
from offcourse.study.config import Study


def run_step(
    name: str, study: Study, registry: Registry, layout: Layout, model: str, threads: int | None = None
) -> list[str]:
    """Make the results of step `name` for `model` and every unit; returns the units that had to be computed.

    A unit is a task or a question set. Each unit's result is written as soon as it is computed, so a stopped job
    continues there when it is run again.
    """
    return run_steps([name], study, registry, layout, model, threads)[name]


def run_steps(
    names: list[str],
    study: Study,
    registry: Registry,
    layout: Layout,
    model: str,
    threads: int | None = None,
    cards: int = 0,
) -> dict[str, list[str]]:
    """Run several steps that read the same settings in one job, so that the model is loaded once.

    cards: number of cards that the job was given. Raises `OffcourseError` when the model's files are not those of its
    manifest, or change while the job is at work.
    """
    context = context_of(STEPS[names[0]], study, registry, layout, model, threads)
    opened = OpenedModel.of(context.folder)
    return {name: _run(STEPS[name], context, opened, cards) for name in names}


def _run(step: Step, context: StepContext, opened: OpenedModel, cards: int) -> list[str]:
    context.turn_to(step)
    name, study, model = step.name, context.study, context.model
    store = ShardStore(context.layout.store)
    computed, seconds, units = [], [], list(step.units(study))
    bar = tqdm(units, desc=f"{name} {model}", unit="unit", disable=not sys.stderr.isatty())
    for number, unit in enumerate(bar, start=1):
        parts = key_parts(step, study, context.registry, context.layout, model, unit)
        watch = Stopwatch(host_as(study.provenance.host, context.layout.base))
        shard = store.find(digest(parts), step.suffix)
        fresh = shard is None
        if fresh:
            require_usable(cards)
            freeze_imports([*parts["code"], *parts.get("class", {}).get("code", ())])
            with heartbeat(f"{name} {model} {unit}", seconds, left=len(units) - number):
                result = compute(step, context, step.unit(context.registry, unit))
            opened.require_unchanged()
            shard = store.put(
                parts,
                step.suffix,
                lambda path, result=result: write_result(step, result, path),
                lambda watch=watch: {**watch.made(), "numerics": context.numerics()},
            )
            computed.append(unit)
            seconds.append(watch.made()["seconds"])
        target = context.layout.artefact(name, step.suffix, model, unit)
        copy_whole(shard, target)
        made = store.made(digest(parts), step.suffix)
        opened.require_unchanged()
        write_record(context.layout.record(name, model, unit), _record(step, context, unit, parts, target, made))
        if bar.disable:
            how = f"computed in {made['seconds']:.1f} s" if fresh else "from the store"
            print(f"{name} {model} {unit}: {how}", file=sys.stderr, flush=True)
    return computed


def _record(
    step: Step, context: StepContext, unit: str, parts: Mapping[str, Any], target: Path, made: Mapping[str, Any]
) -> dict[str, Any]:
    """The record of one result. made: how the result was computed, perhaps by a job of another study."""
    study, layout, row = context.study, context.layout, context.registry.model(context.model)
    upstream = step.upstream(study, unit).values()
    before = {
        layout.artefact(name, STEPS[name].suffix, context.model, its): layout.record(name, context.model, its)
        for name, its in upstream
    }
    inputs = [*before, context.folder / MANIFEST]
    if step.is_leaf:
        inputs += leaf_files(step, study, context.registry, unit, layout.downloads)
    return {
        "rule": step.rule,
        "wildcards": {"model": context.model},
        "study": study.study,
        "step": step.name,
        "model": context.model,
        "task": unit,
        "inputs": hashes(inputs, layout.base),
        "origins": origins(before, layout.base),
        "outputs": hashes([target], layout.base),
        "parameters": parts["parameters"],
        "protocol": study.protocol.model_dump(),
        "code": code_behind(*step.targets),
        "script": script_digest(step.script),
        "source": {
            "kind": row.source,
            "repo": repository(row.source, row.repo),
            "revision": row.revision,
            "asked": prepared_from(context.registry, context.model),
            "weights": weights_digest(context.folder),
        },
        "key": digest(parts),
        "parts": parts,
        "made": made_as(study.provenance.host, layout.base, made),
    }


def compute(step: Step, context: StepContext, unit: Task | QuestionSet) -> Any:
    """What the code of a step returns for one unit, as `write_result` takes it."""
    module, function = step.target.split(":")
    return getattr(importlib.import_module(module), function)(context, unit)


def write_result(step: Step, result: Any, path: Path) -> None:
    """Write the result of one unit as the store keeps it; the same result gives the same bytes."""
    if step.schema is not None:
        checked = step.schema.validate(result.reset_index(drop=True))
        checked.to_parquet(path, index=False, compression="zstd")
        return
    from safetensors.numpy import save_file

    tensors, notes = result
    if len(notes) > 1:
        # safetensors writes several entries in any order, so equal results would differ in their bytes.
        raise ValueError(f"step {step.name}: one note at most, got {', '.join(notes)}")
    save_file(tensors, path, metadata={key: json.dumps(value) for key, value in notes.items()})
