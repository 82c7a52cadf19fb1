"""The message for a mistake in a configuration: the key's path, what was expected and found, and a likely spelling."""

import difflib
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from offcourse.errors import did_you_mean
from offcourse.settings import Section
from offcourse.study.schema import Schema, in_words, locate


def shown(value: Any) -> str:
    """A value as a message shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


@cache
def _schema(model: type[BaseModel]) -> Schema:
    """The schema of a model, which takes a tenth of a second."""
    return model.model_json_schema()


def explain(problem: Mapping[str, Any], mapping: Any, model: type[BaseModel]) -> str:
    """The message for one of pydantic's problems: the key path, what the schema expects, what the mapping has."""
    if problem["type"] in ("extra_forbidden", "missing"):
        path = _path(problem["loc"])
        missing = problem["type"] == "missing"
        return f"the key {path} is missing" if missing else f"unknown key {path}; {_suggest(path, model)}"
    place, schema = locate(_schema(model), problem["loc"])
    path = _path(place)
    if problem["type"] == "said":
        return f"{path}: {problem['msg']}"
    value = mapping
    for part in place:
        value = value[part]
    if problem["type"] == "expected":
        return f"{path}: expected {problem['msg']}, got {shown(value)}"
    if problem["type"] == "too_short":
        return f"{path}: expected at least one entry, got {shown(value)}"
    if problem["type"] == "too_long":
        return f"{path}: expected at most {problem['ctx']['max_length']} entries, got {len(value)}"
    close = difflib.get_close_matches(str(value), schema.get("enum", ()), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else _of_number(value, schema)
    return f"{path}: expected {in_words(schema)}, got {shown(value)}{hint}"


def _of_number(value: Any, schema: Mapping[str, Any]) -> str:
    """How to write a number that YAML reads as text: it stands in quotes, or has an exponent without a point."""
    kinds = {part.get("type") for part in (schema, *schema.get("anyOf", ()))}
    if not isinstance(value, str) or not kinds & {"number", "integer"}:
        return ""
    try:
        number = float(value)
    except ValueError:
        return ""
    if not math.isfinite(number):
        return ""
    plain = f"{number:.0f}" if number.is_integer() and abs(number) < 1e15 else format(Decimal(repr(number)), "f")
    return f". YAML reads this as text; write {plain}"


def _path(loc: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _sections(model: type[BaseModel], above: str = "") -> dict[str, type[BaseModel]]:
    """{key path: model} of every section below `model`, sections within sections included."""
    found = {}
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                found |= {above + name: kind} | _sections(kind, f"{above}{name}.")
    return found


def _suggest(path: str, model: type[BaseModel]) -> str:
    """A did-you-mean for an unknown key: a similar key of its section, else a key of this name in another section."""
    section, _, name = path.rpartition(".")
    sections = _sections(model)
    siblings = {
        key: f"{section}.{key}" if section else key for key in (sections[section] if section else model).model_fields
    }
    close = difflib.get_close_matches(name, siblings, n=1)
    elsewhere = [f"{at}.{name}" for at, kind in sections.items() if "." not in at and name in kind.model_fields]
    if close or not elsewhere or "." in section:
        return did_you_mean(siblings[close[0]] if close else name, siblings.values())
    return f"did you mean {' or '.join(map(repr, elsewhere if not section else elsewhere[:1]))}?"
