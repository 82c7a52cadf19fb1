"""Model folders whose weights are in `.bin` files, torch's archives of tensors."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from offcourse.models.headers import headers


def in_bins(folder: Path, parts: int = 2, zipped: bool = True) -> None:
    """Put the weights of a folder into one or several `.bin` files instead. zipped: as torch has done since 1.6."""
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    weights.unlink()
    names = list(tensors)
    files = [f"pytorch_model-{part + 1:05}-of-{parts:05}.bin" for part in range(parts)]
    files = files if parts > 1 else ["pytorch_model.bin"]
    for part, file in enumerate(files):
        own = {name: tensors[name] for name in names[part::parts]}
        torch.save(own, folder / file, _use_new_zipfile_serialization=zipped)
    if parts > 1:
        named = {name: files[number % parts] for number, name in enumerate(names)}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": named}))


def same_numbers(folder: Path, other: Path) -> bool:
    """Whether two folders have the same tensors."""
    mine, theirs = ({file: load_file(file) for file in {t.file for t in headers(f).values()}} for f in (folder, other))
    mine, theirs = ({k: v for part in found.values() for k, v in part.items()} for found in (mine, theirs))
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
