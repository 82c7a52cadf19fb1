"""Tiny random models of classes on the plain path: loaded, and as rows of the registry."""

import dataclasses

from offcourse.data.architectures import architecture
from offcourse.data.registry import Registry
from offcourse.data.rows import Model
from offcourse.models.plain import PlainModel
from offcourse.models.random import WRITTEN_VOCABULARY, random_model

FACTS = ("parameters", "layers", "heads", "kv_heads", "head_dim", "width", "mlp_width", "vocabulary", "context")


def plain_model(name: str, seed: int = 1, **changes) -> PlainModel:
    """A tiny random model of a class."""
    return PlainModel(random_model(name, seed, **changes), architecture(name))


def plain_row(name: str) -> Model:
    """The registry's row `tiny-name` of a tiny random model of a class; cells of what its class lacks are empty."""
    model, row = plain_model(name, 0, vocabulary=WRITTEN_VOCABULARY), Registry.load().model("tiny-llama")
    facts = {fact: getattr(model, fact) or None for fact in FACTS}
    called = f"tiny-{name.lower()}"
    return dataclasses.replace(
        row, name=called, label=f"Tiny {name}", short_label=f"Tiny {name}", repo=name, architecture=name, **facts
    )


def registry_with(*names: str) -> Registry:
    """The registry with `tiny-llama` and rows of tiny models of some classes."""
    registry = Registry.load()
    rows = {row.name: row for row in (registry.model("tiny-llama"), *map(plain_row, names))}
    return dataclasses.replace(registry, models=rows)
