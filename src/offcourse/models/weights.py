"""Single tensors of a prepared model folder, without loading the model."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from offcourse.data.architectures import Architecture
from offcourse.errors import OffcourseError
from offcourse.models.headers import Tensor, headers

Projection = tuple[torch.Tensor, torch.Tensor | None]


def output_projections(folder: Path, row: Architecture, layers: set[int]) -> dict[int, Projection]:
    """{layer: (weight [width, heads * head_dim], bias [width] or None)} of attention output projections."""
    names = {layer: f"{row.blocks}.{layer}.{row.attention_output}" for layer in layers}
    where = headers(folder)
    tensors = {}
    for layer, name in names.items():
        bias = f"{name}.bias"
        weight = _read(folder, where, f"{name}.weight")
        weight = weight.T if row.transposed else weight
        tensors[layer] = weight, _read(folder, where, bias) if bias in where else None
    return tensors


def _open(path: Path):
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise OffcourseError(
            f"{path} cannot be read as safetensors ({error}); it may be truncated. Delete {path.parent} and run again: "
            "the model is prepared anew."
        ) from error


def _read(folder: Path, where: Mapping[str, Tensor], name: str) -> torch.Tensor:
    if name not in where:
        raise OffcourseError(
            f"{folder} has no tensor {name}: the `architecture` column of resources/models.tsv does not fit this model."
        )
    return _open(where[name].file).get_tensor(name)
