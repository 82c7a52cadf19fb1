"""The configuration's JSON schema, for editors and for the wording of messages about a wrong value."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

Schema = Mapping[str, Any]


class _Plain(GenerateJsonSchema):
    """Generates a schema without titles, which would only repeat the keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def exported(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a configuration, with a comment that says how it was exported."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Exported from src/offcourse/study with `make schema`; do not edit.",
        **model.model_json_schema(schema_generator=_Plain),
    }


def locate(schema: Schema, loc: Iterable[str | int]) -> tuple[list[str | int], Schema]:
    """(key path, part of the schema) that one of pydantic's problems is about.

    loc: pydantic's location. It goes on below a union to name the choice that did not fit; the schema has no such key,
    so the returned path ends at the union.
    """
    defs, path, node = schema["$defs"], [], schema
    for part in loc:
        node = _resolved(node, defs)
        if part in node.get("properties", {}):
            node = node["properties"][part]
        elif isinstance(part, int) and "items" in node:
            node = node["items"]
        elif isinstance(part, str) and isinstance(node.get("additionalProperties"), Mapping):
            node = node["additionalProperties"]
        else:
            break
        path.append(part)
    return path, _resolved(node, defs)


def _resolved(node: Schema, defs: Mapping[str, Schema]) -> Schema:
    """The schema behind a reference, and the other choice of a union with null."""
    if "$ref" in node:
        node = defs[node["$ref"].rpartition("/")[2]]
    choices = [choice for choice in node.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1 and len(node["anyOf"]) == 2 and choices[0].get("type") != "integer":
        return _resolved(choices[0], defs)
    return node


def in_words(schema: Schema) -> str:
    """The words that follow `expected` in a message: what a value must be."""
    # An object's description is the docstring of its class, which does not describe a value.
    if "description" in schema and schema.get("type") != "object":
        return schema["description"]
    if "anyOf" in schema:
        # null comes first, since it is the usual value of an optional setting.
        return " or ".join(sorted(map(in_words, schema["anyOf"]), key=lambda words: words != "null"))
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _range(schema)
    if kind == "array":
        each = schema.get("items", {}).get("description")
        return f"a list, each entry {each}" if each else "a list"
    words = {"string": "a name", "object": "a mapping of keys", "null": "null", "boolean": "true or false"}
    return words.get(kind, "another value")


def _range(schema: Schema) -> str:
    """The bounds of a number, as in " from 1 to 1000" or " above 0, up to 65504"."""
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']} to {schema['maximum']}"
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "up to", "exclusiveMaximum": "below"}
    bounds = [f"{word} {schema[key]}" for key, word in words.items() if key in schema]
    return f" {', '.join(bounds)}" if bounds else ""
