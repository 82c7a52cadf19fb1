"""A self-check: the weights of a loaded model are the numbers in its files.

The check reads the files tensor by tensor with safetensors alone, so that it does not depend on how `transformers`
loads a model.
"""

import re
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import align_module_device
from safetensors import safe_open
from torch import Tensor

from offcourse.models.headers import headers
from offcourse.models.load import LanguageModel
from offcourse.models.places import places_of

NAME = "the weights are those of the files"


def weights_equal_files(model: LanguageModel, folder: Path) -> dict[str, Any]:
    """Compare loaded weights with stored weights, cast to the model's precision: `passed`, `error`, `different`.

    The first row of every tensor is compared, and one tensor of each kind as a whole; tensors of one name in different
    blocks are one kind. error: share of the tensors that differ. different: their names.
    """
    stored, module = headers(folder), model.module
    state = module.state_dict()
    places: dict[str | None, list[str]] = {}
    for name, place in places_of(module, stored).items():
        places.setdefault(place, []).append(name)
    kinds = {re.sub(r"\d+", "*", place): place for place in places if place is not None}
    different = []
    for place in state:
        names = places.get(place) or places.get(_twin(module, place)) or []
        if len(names) != 1:
            if not names or not all(_merged(_weight(module, place), stored[name].file, name) for name in names):
                different.append(place)
            continue
        [name] = names
        with safe_open(stored[name].file, framework="pt") as opened:
            part = slice(None) if place in kinds.values() else slice(0, 1)
            expected = opened.get_slice(name)[part] if stored[name].shape else opened.get_tensor(name)
        got = _weight(module, place)
        got = got[part] if stored[name].shape else got
        if got.shape != expected.shape or not torch.equal(got.cpu(), expected.to(got.dtype)):
            different.append(place)
    return {"passed": not different, "error": len(different) / len(state), "different": sorted(different)}


def _merged(whole: Tensor, file: Path, name: str) -> bool:
    """Whether the first row of a stored matrix is a row, or a column, of its expert in the merged parameter `whole`."""
    with safe_open(file, framework="pt") as opened:
        row = opened.get_slice(name)[0:1][0].to(whole.dtype)
    if found := re.search(r"experts\.(\d+)\.", name):
        whole = whole[int(found[1])]
    whole = whole.cpu()
    return any(bool((each == row).all(-1).any()) for each in (whole, whole.mT) if each.shape[-1] == len(row))


def _twin(module: torch.nn.Module, place: str) -> str | None:
    """The other name of a tied parameter."""
    ties = module.all_tied_weights_keys
    return ties.get(place) or next((one for one, other in ties.items() if other == place), None)


def _weight(module: torch.nn.Module, place: str) -> Tensor:
    owner, _, last = place.rpartition(".")
    part = module.get_submodule(owner)
    weight = getattr(part, last)
    if not weight.is_meta:
        return weight.detach()
    with align_module_device(part, "cpu"):
        return getattr(part, last).detach().clone()
