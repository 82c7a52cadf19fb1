"""Models of one's own beside those of the registry: tiny, random, of any class and shape, in a folder."""

import dataclasses
from pathlib import Path

from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.layout import Layout
from offcourse.models.fetch import prepare
from offcourse.models.random import random_model, random_tokenizer

VOCABULARY = 512


def with_model(registry: Registry, base: Path, name: str, architecture: str = "Llama", seed: int = 0, **shape):
    """The registry with one row more: a model of source `local`, prepared below `base`.

    shape: entries of its configuration.
    """
    folder = base / "homemade" / name
    module = random_model(architecture, seed, vocabulary=VOCABULARY, **shape)
    module.save_pretrained(folder)
    texts = (RESOURCES / "questions" / "passages.tsv").read_text(encoding="utf-8").splitlines()
    random_tokenizer(texts, True, VOCABULARY).save_pretrained(folder)
    row = dataclasses.replace(
        registry.model("tiny-llama"),
        name=name,
        label=name.title(),
        source="local",
        repo=str(folder),
        revision="",
        architecture=architecture,
        parameters=None,
        layers=module.config.num_hidden_layers,
    )
    layout = Layout("mine", base)
    prepare(row, registry, layout.model_folder(name), layout.downloads)
    return dataclasses.replace(registry, models=dict(registry.models) | {name: row})
