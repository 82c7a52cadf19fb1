"""Names of `.bin` files, in which `transformers` kept weights before safetensors."""

import re
from collections.abc import Collection

# One file, or numbered parts that an index names.
NAMES = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin")
SINGLE, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"


def pickled(names: Collection[str]) -> list[str]:
    """The `.bin` files with weights among the file names of a model, where none of its files is of safetensors."""
    if any("/" not in name and name.endswith(".safetensors") for name in names):
        return []
    return sorted(name for name in names if NAMES.fullmatch(name))
