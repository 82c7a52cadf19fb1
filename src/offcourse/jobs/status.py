"""Which results are fresh, and for a stale one, which part of its key changed."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from offcourse.artefacts import sha256
from offcourse.errors import OffcourseError
from offcourse.jobs.steps import STEPS, key_parts, steps_of
from offcourse.layout import Layout
from offcourse.registry import Registry
from offcourse.study.config import Study


@dataclass(frozen=True)
class State:
    """State of one result: `fresh`, or not and why (empty when fresh)."""

    step: str
    model: str
    task: str
    fresh: bool
    why: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def status(study: Study, registry: Registry, layout: Layout) -> list[State]:
    """The state of every step x model x task, in the order in which the workflow runs them."""
    states: dict[tuple[str, str, str], State] = {}
    for model in study.models:
        for name, step in steps_of(study, model).items():
            for task in step.units(study):
                stale = [up for up in step.inputs if not states[up, model, task].fresh]
                why = (
                    tuple(f"follows {up}" for up in stale)
                    if stale
                    else tuple(_reasons(name, study, registry, layout, model, task))
                )
                states[name, model, task] = State(name, model, task, not why, why)
    return list(states.values())


def _reasons(name: str, study: Study, registry: Registry, layout: Layout, model: str, task: str) -> list[str]:
    step = STEPS[name]
    artefact, record = layout.artefact(name, step.suffix, model, task), layout.record(name, model, task)
    if not artefact.exists():
        return ["not made yet"]
    try:
        known = json.loads(record.read_text())
        parts, digest = known["parts"], known["sha256"]
    except (OSError, ValueError, KeyError):
        return ["no record of how it was made"]
    if sha256(artefact) != digest:
        return ["the file differs from its record (damaged or edited)"]
    try:
        now = key_parts(step, study, registry, layout, model, task)
    except OffcourseError as error:
        return [str(error)]
    return differences(parts, now)


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """In words, which parts of a key changed."""
    names = {
        "code": "code of {}",
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
        else:
            found.append(f"{key}: {old} -> {new}")
    return found
