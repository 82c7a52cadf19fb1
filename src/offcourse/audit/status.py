"""Which results are fresh, and for a stale one, which part of what it depends on changed."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.files import sha256
from offcourse.graph.keys import STEPS, Step, key_parts, prepared_from, steps_of
from offcourse.graph.products import Drawing, drawings_of
from offcourse.layout import Layout
from offcourse.models.fetch import MANIFEST
from offcourse.provenance.records import code_behind, read_record, relative
from offcourse.store.fingerprint import script_digest
from offcourse.store.shards import Store
from offcourse.study.config import Study


@dataclass(frozen=True)
class State:
    """State of one result of a step, or of what one other rule makes: `fresh`, or not and why (empty when fresh).

    step: the step, or the rule. model, task: empty for a rule that runs once for the study, or for all tasks.
    job: whether the next run has a job for it; damage that the store can mend needs none.
    """

    step: str
    model: str
    task: str
    fresh: bool
    why: tuple[str, ...] = ()
    job: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def status(study: Study, registry: Registry, layout: Layout) -> list[State]:
    """The state of every step x model x task and of every table and figure, in an order in which they can be made."""
    states: dict[tuple[str, str, str], State] = {}
    mended: set[Path] = set()

    def note(step: str, model: str, task: str, upstream: list[tuple[str, str, str]], ask: Callable) -> None:
        stale = sorted({name for name, *rest in upstream if states[name, *rest].job})
        why = tuple(f"follows {name}" for name in stale) or tuple(ask())
        job = bool(why)
        if job and not stale and step in STEPS and can_mend(STEPS[step], study, registry, layout, model, task, mended):
            mended.add(layout.artefact(step, STEPS[step].suffix, model, task))
            job, why = False, (*why, "the next run mends it without computing")
        states[step, model, task] = State(step, model, task, not why, why, job)

    drawings = drawings_of(study, registry)
    facts = drawings.pop("check_model")
    for model in study.models:
        note(facts.rule, model, "", [], partial(drawing_reasons, facts, study, registry, layout, model))
        for name, step in steps_of(study, model).items():
            for task in step.units(study):
                upstream = [(up, model, unit) for up, unit in step.upstream(study, task).values()]
                upstream += [(facts.rule, model, "")] if step.runs_model else []
                asked = (step, study, registry, layout, model, task, mended)
                note(name, model, task, upstream, partial(step_reasons, *asked))
    for name, drawing in drawings.items():
        for model in drawing.instances(study):
            upstream = drawing.upstream(study, model)
            upstream += [(facts.rule, each, "") for each in drawing.models(study, model)]
            read = set(drawing.numbers_read(study))
            upstream += [(other.rule, "", "") for other in drawings.values() if read & set(other.tables)]
            if name in ("report", "ro_crate"):
                upstream += [key for key in states if key[0] in drawings or name == "ro_crate"]
            asked = (drawing, study, registry, layout, model, mended)
            note(name, model or "", "", upstream, partial(drawing_reasons, *asked))
    return list(states.values())


def step_reasons(
    step: Step, study: Study, registry: Registry, layout: Layout, model: str, task: str, mended: Collection[Path] = ()
) -> list[str]:
    """Why one result of a step is not what the workflow would make now; empty when it is.

    mended: results that are damaged, but will be as their records say when anything reads them.
    """
    artefact = layout.artefact(step.name, step.suffix, model, task)
    known = _intact([artefact], layout.record(step.name, model, task), layout)
    if isinstance(known, list):
        return known
    if changed := step_changes(step, study, registry, layout, known, mended):
        return changed
    if known.get("script") != script_digest(step.script):
        return [f"script of {step.rule}"]
    damage = Store(layout.store).damage(known["key"], step.suffix)
    return [f"its shard is damaged: {damage}"] if damage else []


def can_mend(
    step: Step, study: Study, registry: Registry, layout: Layout, model: str, task: str, mended: Collection[Path]
) -> bool:
    """Whether one result or its shard is damaged and the other one is not (see `mend`), and nothing else changed."""
    artefact, record = layout.artefact(step.name, step.suffix, model, task), layout.record(step.name, model, task)
    if not artefact.exists() or not record.exists():
        return False
    try:
        known = read_record(record)
    except OffcourseError:
        return False
    damaged = sha256(artefact) != known["outputs"].get(relative(artefact, layout.base))
    if damaged == bool(Store(layout.store).damage(known["key"], step.suffix)):
        return False
    return not step_changes(step, study, registry, layout, known, mended)


def step_changes(
    step: Step,
    study: Study,
    registry: Registry,
    layout: Layout,
    known: Mapping[str, Any],
    mended: Collection[Path] = (),
) -> list[str]:
    """What the key of a result would have otherwise now than its record says."""
    model, task = known["model"], known["task"]
    inputs = known["parts"]["inputs"]
    digests = {
        name: inputs[name]
        for name, (up, unit) in step.upstream(study, task).items()
        if name in inputs and layout.artefact(up, STEPS[up].suffix, model, unit) in mended
    }
    try:
        now = key_parts(step, study, registry, layout, model, task, digests)
    except OffcourseError as error:
        return [str(error)]
    if (asked := prepared_from(registry, model)) != known["source"]["asked"]:
        # The folder is prepared anew first; what the key holds of its files is not known yet.
        return [f"source of {model}: {known['source']['asked']} -> {asked}"]
    changed = differences(known["parts"], now)
    manifest = layout.model_folder(model) / MANIFEST
    if not changed and not step.reads_weights and sha256(manifest) != known["inputs"][relative(manifest, layout.base)]:
        return [f"{relative(manifest, layout.base)} names other files"]
    return changed


def drawing_reasons(
    drawing: Drawing,
    study: Study,
    registry: Registry,
    layout: Layout,
    model: str | None,
    mended: Collection[Path] = (),
) -> list[str]:
    """The same for the files of a job that makes facts, tables or figures."""
    outputs = [layout.results / path for path in drawing.outputs(study, registry, model)]
    known = _intact(outputs, layout.rule_record(drawing.rule, model), layout)
    if isinstance(known, list):
        return known

    def hashed(path: Path) -> str:
        return known["inputs"][relative(path, layout.base)] if path in mended else sha256(path)

    return drawing_changes(drawing, study, registry, layout, model, known, hashed)


def drawing_changes(
    drawing: Drawing,
    study: Study,
    registry: Registry,
    layout: Layout,
    model: str | None,
    known: Mapping[str, Any],
    hashed: Callable[[Path], str] = sha256,
) -> list[str]:
    """What differs now from a record of such a job: code, settings, what it reads. `hashed` gives a file's sha256."""
    code = code_behind(drawing.target)
    before = {key: known["code"].get(key) for key in ("modules", "packages")}
    before |= {"parameters": known["parameters"], "results": sorted(known["inputs"]), "script": known.get("script")}
    now = {key: code[key] for key in ("modules", "packages")}
    now |= {"parameters": drawing.parameters(study, registry, model), "results": sorted(known["inputs"])}
    now["script"] = script_digest(drawing.script)
    if drawing.inputs:
        read = {relative(path, layout.base) for path in inputs_of(drawing, study, layout, model)}
        now["results"] = sorted(read)
    found = differences(before, now)
    return found or [
        f"{path} is not what it was drawn from"
        for path, digest in known["inputs"].items()
        if not (layout.base / path).exists() or hashed(layout.base / path) != digest
    ]


def inputs_of(drawing: Drawing, study: Study, layout: Layout, model: str | None) -> list[Path]:
    """The files that a table or figure is drawn from."""
    results = [
        layout.artefact(step, STEPS[step].suffix, name, unit) for step, name, unit in drawing.upstream(study, model)
    ]
    results += [layout.results / f"tables/table{number}.parquet" for number in drawing.numbers_read(study)]
    return results + [layout.results / name / "model.json" for name in drawing.models(study, model)]


def _intact(outputs: list[Path], record: Path, layout: Layout) -> dict[str, Any] | list[str]:
    """The record of `outputs` when they fit it, else what is wrong."""
    if missing := [path for path in outputs if not path.exists()]:
        return ["not made yet" if len(missing) == len(outputs) else f"{missing[0].name} is missing"]
    if not record.exists():
        return ["no record of how it was made"]
    try:
        known = read_record(record)
    except OffcourseError as error:
        return [str(error)]
    damaged = [path for path in outputs if sha256(path) != known["outputs"].get(relative(path, layout.base))]
    return [f"{path.name} differs from its record (damaged or edited)" for path in damaged] or known


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words, which parts of a key changed."""
    names = {
        "code": "code of {}",
        "modules": "code of {}",
        "packages": "package {}",
        "parameters": "parameter {}",
        "inputs": "input {}",
    }
    found = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
            for name in changed:
                text = names.get(key, key + " {}").format(name)
                if key in ("parameters", "packages"):
                    text += f": {old.get(name)} -> {new.get(name)}"
                found.append(text)
        elif isinstance(old, list) and isinstance(new, list):
            added, gone = sorted(set(new) - set(old)), sorted(set(old) - set(new))
            found.append(f"{key}: {len(added)} more, {len(gone)} fewer ({', '.join((added + gone)[:3])})")
        else:
            found.append(f"{key}: {old} -> {new}")
    return found
