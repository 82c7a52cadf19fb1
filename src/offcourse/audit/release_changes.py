"""Changes since a record of the authors' release was written."""

from collections.abc import Mapping
from typing import Any

from offcourse.audit.status import differences
from offcourse.graph.release import parameters_of
from offcourse.graph.release_rules import TARGETS, script_of, targets_of
from offcourse.provenance.records import code_behind
from offcourse.store.fingerprint import script_digest


def changes(record: Mapping[str, Any]) -> list[str]:
    """Changes of code, packages, templates and settings since the record of a rule of the release was written."""
    rule = record["rule"]
    if rule not in TARGETS:
        return ["this version has no such rule"]
    code = code_behind(*targets_of(rule, original=not record["parameters"].get("packed")))
    before = {key: record["code"].get(key) for key in ("modules", "packages")} | {"script": record.get("script")}
    now = {key: code[key] for key in ("modules", "packages")} | {"script": script_digest(script_of(rule))}
    parameters = parameters_of(rule)
    # The record of a converted table also holds how its page was read, which is no parameter of the rule.
    before["parameters"] = {name: record["parameters"].get(name) for name in parameters}
    return differences(before, now | {"parameters": parameters})
