"""Where each tensor of a model's files goes in the loaded model. Some classes rename tensors, or merge several.

Files of mixtures of experts hold one matrix per expert, which `transformers` stacks into one parameter. Its own names
for what it merges are used here, so that a tensor that it would leave out is still noticed.
"""

from collections.abc import Iterable
from typing import Any

from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

# Two names for one tensor, depending on the version of transformers: GPT-NeoX's unembedding.
RENAMED = {"embed_out.weight": "lm_head.weight", "lm_head.weight": "embed_out.weight"}


def places_of(module: nn.Module, names: Iterable[str]) -> dict[str, str | None]:
    """{tensor of the files: the module's name for it, None if it has none}. Several tensors may have one place."""
    state, prefix = module.state_dict(), module.base_model_prefix
    transforms = get_model_conversion_mapping(module)
    renamings = [each for each in transforms if isinstance(each, WeightRenaming)]
    converters = [each for each in transforms if isinstance(each, WeightConverter)]

    def place(name: str) -> str | None:
        if found := _as_written(name, state, prefix):
            return found
        renamed, _ = rename_source_key(name, renamings, converters, prefix, state)
        return renamed if renamed in state else None

    return {name: place(name) for name in names}


def _as_written(name: str, state: dict[str, Any], prefix: str) -> str | None:
    """The module's name for a tensor that is not merged. Files of a bare decoder omit `prefix`."""
    return next((place for place in (name, f"{prefix}.{name}", RENAMED.get(name)) if place in state), None)
