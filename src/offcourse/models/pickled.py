"""Weights in `.bin` files, rewritten as safetensors: torch's archives of tensors and a pickle that says what they are.

A pickle can run code when it is opened. torch reads these with `weights_only=True`, which refuses a pickle that names
anything but tensors, before it is run.
"""

import json
import pickle
import re
import zipfile
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor

from offcourse.errors import OffcourseError
from offcourse.models.bins import INDEX, SINGLE, pickled

# Safetensors are written in parts of this size, so that one part is in memory at a time.
PART = "4GB"


def rewrite(origin: Path, folder: Path, where: str, repair: str) -> list[str]:
    """Write the weights in the `.bin` files of `origin` as safetensors into `folder`; the names of the files read.

    where: how messages name the model. repair: what to do about a damaged file. Numbers and types stay as they are; of
    names that share one tensor, one stays. Raises `OffcourseError` naming a file whose pickle asks for anything but
    tensors, that is damaged, or that the index does not fit.
    """
    names = pickled([path.name for path in origin.iterdir()])
    parts = {name: _read(origin / name, f"{where}: {name}", repair) for name in names}
    tensors: dict[str, Tensor] = {}
    for name, part in parts.items():
        if twice := sorted(tensors.keys() & part.keys()):
            raise OffcourseError(f"{where}: the tensor {twice[0]} is in {name} and in another .bin file. {repair}")
        tensors |= part
    if (origin / INDEX).exists():
        try:
            said = json.loads((origin / INDEX).read_text(encoding="utf-8"))["weight_map"]
            whole = said == {key: name for name, part in parts.items() for key in part}
        except (ValueError, KeyError, TypeError, RecursionError):
            whole = False
        if not whole:
            raise OffcourseError(f"{where}: {INDEX} does not name the tensors that its .bin files hold. {repair}")
    elif names != [SINGLE]:
        raise OffcourseError(f"{where} has {', '.join(names)} and no {INDEX}, which names all of its files. {repair}")
    save_torch_state_dict(tensors, folder, max_shard_size=PART)
    return names


def _read(path: Path, where: str, repair: str) -> dict[str, Tensor]:
    """{name: tensor} of one file; the numbers stay on the disk until they are used."""
    try:
        # Files from before torch 1.6 are no archives and cannot be mapped.
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise OffcourseError(
            f"{where} was not opened: its pickle asks for {asked[1] if asked else 'something other than tensors'}, "
            "which could run code. Use a version of the model in safetensors."
        ) from error
    # A damaged archive or pickle can raise any error.
    except Exception as error:
        reason = (str(error) or "no reason given").splitlines()[0]
        raise OffcourseError(
            f"{where} cannot be read as weights ({type(error).__name__}: {reason}); it may be truncated. {repair}"
        ) from error
    if not isinstance(found, dict) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise OffcourseError(f"{where} holds something other than tensors by name. {repair}")
    return found
