"""Status: whether each result is fresh (what the workflow would make now) or stale, and what changed."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from offcourse.audit.evidence import Evidence, misstated, not_as_read
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.files import known_sha256
from offcourse.graph.keys import FETCHED, STEPS, Step, key_parts, prepared_from, steps_of
from offcourse.graph.product import Product
from offcourse.graph.products import products_of
from offcourse.graph.study_files import job_outputs, job_parameters
from offcourse.layout import Layout
from offcourse.models.manifest import MANIFEST
from offcourse.provenance.records import code_behind, located, read_record, relative
from offcourse.store.fingerprint import script_digest
from offcourse.study.config import Study


@dataclass(frozen=True)
class State:
    """The state of one result of a step, or of the files of one product. why: reasons; empty if `fresh`.

    step: the step, or the product's rule. model, unit (a task or a question set): "" for a rule that runs once for the
        study, or for all units.
    job: whether the next run has a job for the result; a damaged result that the store can repair needs none.
    """

    step: str
    model: str
    unit: str
    fresh: bool
    why: tuple[str, ...] = ()
    job: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The state as plain JSON."""
        return asdict(self)


def status(study: Study, registry: Registry, layout: Layout) -> list[State]:
    """The state of every result (step x model x unit) and every product, in an order in which they can be made."""
    states: dict[tuple[str, str, str], State] = {}
    repaired: set[Path] = set()
    evidence = Evidence(study, registry, layout)

    def note(step: str, model: str, unit: str, upstream: list[tuple[str, str, str]], ask: Callable) -> None:
        stale = sorted({name for name, *rest in upstream if states[name, *rest].job})
        why = tuple(f"follows {name}" for name in stale) or tuple(ask())
        job = bool(why)
        if job and not stale and step in STEPS and can_repair(STEPS[step], evidence, model, unit, repaired):
            repaired.add(layout.artefact(step, STEPS[step].suffix, model, unit))
            job, why = False, (*why, "the next run mends it without computing")
        states[step, model, unit] = State(step, model, unit, not why, why, job)

    products = products_of(study, registry)
    facts = products.pop("check_model")
    for rule, listed in FETCHED.items():
        if listed(study, registry):
            note(rule, "", "", [], partial(evidence.of_downloads, rule))
    for model in study.models:
        note(PREPARE, model, "", [], partial(evidence.of_model, model))
    for model in study.models:
        waited = [model, *(other for other in study.models if not layout.receipt(other).exists())]
        upstream = [(PREPARE, each, "") for each in waited if each == model or each in _waited_for(layout, model)]
        note(facts.rule, model, "", upstream, partial(product_reasons, facts, evidence, model))
        for name, step in steps_of(study, model).items():
            for unit in step.units(study):
                upstream = [(up, model, of) for up, of in step.upstream(study, unit).values()]
                upstream += [(facts.rule, model, "")] if step.runs_model else []
                upstream += [(PREPARE, model, "")] if not step.reads_weights else []
                upstream += [key for key in ((rule, "", "") for rule in _fetches(step)) if key in states]
                note(name, model, unit, upstream, partial(step_reasons, step, evidence, model, unit, repaired))
    for name, product in products.items():
        for model in product.instances(study):
            upstream = product.upstream(study, model)
            upstream += [(facts.rule, each, "") for each in product.models(study, model)]
            read = set(product.numbers_read(study))
            upstream += [(other.rule, "", "") for other in products.values() if read & set(other.tables)]
            if name in ("report", "ro_crate"):
                upstream += [key for key in states if key[0] in products or name == "ro_crate"]
            note(name, model or "", "", upstream, partial(product_reasons, product, evidence, model, repaired))
    return list(states.values())


# The rule that prepares a model. It makes no product: editing its code prepares nothing anew.
PREPARE = "prepare_model"


def _waited_for(layout: Layout, model: str) -> set[str]:
    """The models whose preparation the check of a model waited for."""
    try:
        waited = read_record(layout.rule_record("check_model", model)).get("waited_for", [])
    except OffcourseError:
        return set()
    return {Path(path).parent.name for path in waited}


def _fetches(step: Step) -> list[str]:
    """The rules whose downloads the rule of a step waits for."""
    if step.on_questions:
        return ["fetch_questions"]
    return ["fetch_words"] if step.is_leaf else []


def step_reasons(step: Step, evidence: Evidence, model: str, unit: str, repaired: Collection[Path] = ()) -> list[str]:
    """Why one result of a step is not what the workflow would make now; empty when it is.

    repaired: damaged results that the next run repairs before anything reads them, so they count as intact.
    """
    study, registry, layout = evidence.study, evidence.registry, evidence.layout
    artefact, record = layout.artefact(step.name, step.suffix, model, unit), layout.record(step.name, model, unit)
    known = _intact([artefact], record, evidence)
    if isinstance(known, list):
        return known
    if changed := misstated(step, known, record, study) or step_changes(step, study, registry, layout, known, repaired):
        return changed
    if known.get("script") != script_digest(step.script):
        return [f"script of {step.rule}"]
    return (
        not_as_read(known, layout, repaired)
        or evidence.against_shard(step, known)
        or list(evidence.contradicted(known, record).values())
    )


def can_repair(step: Step, evidence: Evidence, model: str, unit: str, repaired: Collection[Path]) -> bool:
    """Whether one result or its shard is damaged and the other one is not (see `repair`), and nothing else changed."""
    study, registry, layout = evidence.study, evidence.registry, evidence.layout
    artefact, record = layout.artefact(step.name, step.suffix, model, unit), layout.record(step.name, model, unit)
    if not artefact.exists() or not record.exists():
        return False
    try:
        known = read_record(record)
    except OffcourseError:
        return False
    damaged = known_sha256(artefact) != known["outputs"].get(relative(artefact, layout.base))
    wrong = evidence.against_shard(step, known)
    if damaged == bool(wrong) or (wrong and not evidence.store.damage(known["key"], step.suffix)):
        return False
    if evidence.contradicted(known, record) or misstated(step, known, record, study):
        return False
    return not (step_changes(step, study, registry, layout, known, repaired) or not_as_read(known, layout, repaired))


def step_changes(
    step: Step,
    study: Study,
    registry: Registry,
    layout: Layout,
    known: Mapping[str, Any],
    repaired: Collection[Path] = (),
) -> list[str]:
    """The parts of a result's key that differ from its record."""
    model, unit = known["model"], known["task"]
    inputs = known["parts"]["inputs"]
    digests = {
        name: inputs[name]
        for name, (up, of) in step.upstream(study, unit).items()
        if name in inputs and layout.artefact(up, STEPS[up].suffix, model, of) in repaired
    }
    try:
        now = key_parts(step, study, registry, layout, model, unit, digests)
    except OffcourseError as error:
        return [str(error)]
    if (asked := prepared_from(registry, model)) != known["source"]["asked"]:
        # The model's folder will be prepared anew first, so the digests of its files are not known yet.
        return [f"source of {model}: {known['source']['asked']} -> {asked}"]
    changed = differences(known["parts"], now)
    manifest = layout.model_folder(model) / MANIFEST
    if (
        not changed
        and not step.reads_weights
        and known_sha256(manifest) != known["inputs"].get(relative(manifest, layout.base))
    ):
        return [f"{relative(manifest, layout.base)} names other files"]
    return changed


def product_reasons(
    product: Product, evidence: Evidence, model: str | None, repaired: Collection[Path] = ()
) -> list[str]:
    """Why the files of a product are not what the workflow would make now; empty when they are."""
    study, registry, layout = evidence.study, evidence.registry, evidence.layout
    outputs = [layout.results / path for path in job_outputs(product, study, registry, model)]
    record = layout.rule_record(product.rule, model)
    known = _intact(outputs, record, evidence)
    if isinstance(known, list):
        return known
    said = (known["rule"], known["study"], known["wildcards"].get("model"), len(known["outputs"]))
    if said != (product.rule, study.study, model, len(outputs)):
        return [f"{relative(record, layout.base)} is not its record"]

    def hashed(path: Path) -> str:
        return known["inputs"].get(relative(path, layout.base)) if path in repaired else known_sha256(path)

    return (
        product_changes(product, study, registry, layout, model, known, hashed)
        or list(evidence.contradicted(known, record).values())
        or (evidence.of_crate() if product.rule == "ro_crate" else [])
    )


def product_changes(
    product: Product,
    study: Study,
    registry: Registry,
    layout: Layout,
    model: str | None,
    known: Mapping[str, Any],
    hashed: Callable[[Path], str] = known_sha256,
) -> list[str]:
    """Differences from the record of a product's job: code, settings, inputs. hashed: gives the sha256 of a file."""
    code = code_behind(*product.targets)
    before = {key: known["code"].get(key) for key in ("modules", "packages")}
    before |= {"parameters": known["parameters"], "results": sorted(known["inputs"]), "script": known.get("script")}
    now = {key: code[key] for key in ("modules", "packages")}
    now |= {"parameters": job_parameters(product, study, registry, model), "results": sorted(known["inputs"])}
    now["script"] = script_digest(product.script)
    if product.inputs or product.tables:
        read = {relative(path, layout.base) for path in inputs_of(product, study, layout, model)}
        now["results"] = sorted(read)
    found = differences(before, now)
    return found or [
        f"{path} is not what it was drawn from"
        for path, digest in known["inputs"].items()
        if not located(path, layout.base).exists() or hashed(located(path, layout.base)) != digest
    ]


def inputs_of(product: Product, study: Study, layout: Layout, model: str | None) -> list[Path]:
    """The files of results that a product reads."""
    results = [
        layout.artefact(step, STEPS[step].suffix, name, unit) for step, name, unit in product.upstream(study, model)
    ]
    results += [layout.results / f"tables/table{number}.parquet" for number in product.numbers_read(study)]
    return results + [layout.results / name / "model.json" for name in product.models(study, model)]


def _intact(outputs: list[Path], record: Path, evidence: Evidence) -> dict[str, Any] | list[str]:
    """The record of `outputs` if the files agree with their record, else the reasons why not."""
    if missing := [path for path in outputs if not path.exists()]:
        return ["not made yet" if len(missing) == len(outputs) else f"{missing[0].name} is missing"]
    if not record.exists():
        return ["no record of how it was made"]
    try:
        known = evidence.record(record)
    except OffcourseError as error:
        return [str(error)]
    damaged = [path for path in outputs if known_sha256(path) != known["outputs"].get(evidence.path(path))]
    return [f"{path.name} differs from its record (damaged or edited)" for path in damaged] or known


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The parts of a key that changed, in words."""
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
