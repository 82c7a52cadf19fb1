"""Vectors in safetensors with our facts: a tensor `layer.N` for block N, and the facts as metadata."""

import re
from pathlib import Path

from offcourse.errors import OffcourseError
from offcourse.files import write_whole
from offcourse.vectors.facts import NAME, NEEDED, VectorFile, float32

PREFIX = "layer."


def read(path: Path) -> VectorFile:
    """The vectors of a file that `write` wrote, or that has the tensors and metadata of one.

    Raises `OffcourseError` for a file that is damaged, or without our metadata.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError, TypeError) as error:
        raise OffcourseError(
            f"{path} cannot be read as safetensors ({str(error).splitlines()[0]}). Use an undamaged copy, with "
            "float32 or float16 numbers."
        ) from error
    # "05" would be a second name of block 5, and isdigit knows more digits than these.
    strange = [name for name in tensors if not re.fullmatch(rf"{re.escape(PREFIX)}(0|[1-9][0-9]*)", name)]
    if NAME not in metadata or strange:
        wrong = f"tensors that are not called {PREFIX}N: {', '.join(sorted(strange)[:5])}" if strange else ""
        lacks = f"no metadata {NAME}, which says its {', '.join(NEEDED[:-1])}, layers, sha256 and {NEEDED[-1]}"
        raise OffcourseError(
            f"{path} has {' and '.join(filter(None, (lacks if NAME not in metadata else '', wrong)))}. Write it with "
            "offcourse.vectors.files.write, or export it with `offcourse export-vector` (docs/judging.md)."
        )
    numbers = {int(name.removeprefix(PREFIX)): float32(tensor, path, name) for name, tensor in tensors.items()}
    return VectorFile(numbers).said(metadata[NAME], path)


def write(path: Path, vectors: VectorFile) -> None:
    """Write the vectors and their facts."""
    from safetensors.numpy import save_file

    tensors = {f"{PREFIX}{layer}": numbers.copy() for layer, numbers in vectors.numbers.items()}
    write_whole(path, lambda temporary: save_file(tensors, temporary, metadata={NAME: vectors.facts()}))
