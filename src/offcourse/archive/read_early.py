"""Which released models had their heads read one token early."""

from collections.abc import Iterable

from offcourse.data.registry import Registry

# Families whose tokenizers add a BOS by themselves, for which the authors' code read heads one token too early.
ADD_BOS = ("Llama 1", "Llama 2", "Llama 3", "Llama 3.1", "Llama 3.2", "Mistral", "Amber", "Gemma 2")


def read_early(models: Iterable[str], registry: Registry | None = None) -> dict[str, bool]:
    """{model: whether the released code read its heads one token early}, by the family of its row in models.tsv."""
    rows = (registry or Registry.load()).models
    return {name: rows[name].family in ADD_BOS for name in models}
