"""Control vectors in GGUF, the files of repeng and llama.cpp.

Such a file has `general.architecture` "controlvector", `controlvector.model_hint` (the type of the model, as "llama"),
`controlvector.layer_count`, and a float32 tensor `direction.N` per block. N is the block, counted from 0: repeng's
directions have the number of the block whose output they were read at, and llama.cpp adds `direction.N` after its block
N. It has no vector for block 0. Both add a direction at every token, in all blocks of the file at once unless a range
is given; the file itself says neither, nor the model's commit. Files that we write hold our facts too, under a key that
the others do not read.
"""

import re
from pathlib import Path
from typing import Any

from offcourse.errors import OffcourseError
from offcourse.files import write_whole
from offcourse.vectors.facts import NAME, VectorFile, float32

ARCHITECTURE, PREFIX = "controlvector", "direction."
ADVICE = "llama.cpp and repeng add such a vector at all positions, in all its layers together"


def read(path: Path) -> VectorFile:
    """The vectors of a control vector; facts only as far as the file has them.

    Raises `OffcourseError` for a file that is no control vector, or that llama.cpp would refuse.
    """
    import gguf

    try:
        reader = gguf.GGUFReader(path)
        said = {name: reader.fields[name].contents() for name in reader.fields if not name.startswith("GGUF.")}
        tensors = [(tensor.name, tensor.tensor_type, tensor.data.copy()) for tensor in reader.tensors]
    # The package's reader raises whatever the damage makes of its arithmetic.
    except Exception as error:
        reason = (str(error) or "no reason given").splitlines()[0]
        raise OffcourseError(
            f"{path} cannot be read as GGUF ({type(error).__name__}: {reason}). Use an undamaged copy."
        ) from error
    kind = said.get("general.architecture")
    if kind != ARCHITECTURE:
        raise OffcourseError(
            f"{path} is a GGUF file of architecture {kind!r}, and a control vector's is {ARCHITECTURE!r}. Give the "
            "file of the vector, not of the model."
        )
    numbers = {}
    for name, kind, data in tensors:
        # "05" would be a second name of block 5, and \d knows more digits than these.
        layer = re.fullmatch(rf"{re.escape(PREFIX)}([1-9][0-9]*)", name)
        if not layer:
            raise OffcourseError(
                f"{path}: the tensor {name!r} is no direction of a block from 1 on ({PREFIX}N), and llama.cpp refuses "
                "the file too."
            )
        if kind != gguf.GGMLQuantizationType.F32 or data.ndim != 1:
            raise OffcourseError(
                f"{path}: {name} has {kind.name} numbers in {data.ndim} dimensions, and a direction is one row of F32."
            )
        numbers[int(layer[1])] = float32(data, path, name)
    hint = said.get(f"{ARCHITECTURE}.model_hint")
    found = VectorFile(numbers, site="residual")
    if NAME in said:
        return found.said(said[NAME], path)
    return found.given({"made": {"model_hint": hint} if hint else None}, path, "the file")


def write(path: Path, vectors: VectorFile, hint: str) -> None:
    """Write the vectors as a control vector, with our facts beside. hint: the model's type.

    Raises `OffcourseError` for vectors that llama.cpp would not use as they are meant.
    """
    import gguf

    what = (vectors.site, vectors.operation, vectors.positions)
    if what != ("residual", "add", "all"):
        raise OffcourseError(
            f"{path}: a control vector is added to the residual stream at all positions, and these vectors are of "
            f"site {what[0]}, operation {what[1]} and positions {what[2]}. " + vectors.elsewhere(["add"])
        )
    if 0 in vectors.numbers:
        raise OffcourseError(
            f"{path}: a control vector has no direction for block 0, and these vectors have one. Export the other "
            "blocks, as with --layers 1-5."
        )

    def fill(temporary: Path) -> None:
        writer = gguf.GGUFWriter(temporary, ARCHITECTURE)
        writer.add_string(f"{ARCHITECTURE}.model_hint", hint)
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(vectors.numbers))
        writer.add_string(NAME, vectors.facts())
        for layer in vectors.layers:
            writer.add_tensor(f"{PREFIX}{layer}", vectors.numbers[layer])
        _finish(writer)

    write_whole(path, fill)


def _finish(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
