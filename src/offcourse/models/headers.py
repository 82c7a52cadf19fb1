"""Names, shapes and types of the tensors in a model folder, read from the headers of its safetensors."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from offcourse.errors import OffcourseError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class Tensor:
    """Header of one tensor: its file, its shape, and its type in safetensors' spelling ("BF16")."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


def weight_files(folder: Path, where: str, repair: str) -> list[Path]:
    """The safetensors files that `transformers` reads: one, or those that an index names.

    Raises `OffcourseError` when there is no such file, and for an index that is damaged, names a file outside the
    folder, or does not name the single file beside it.
    """
    single, index = folder / SINGLE, folder / INDEX
    if not index.exists():
        if single.exists():
            return [single]
        pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
        if pickles:
            raise OffcourseError(
                f"{where} has its weights in {pickles[0]} only, a pickle, which can run code when it is opened. "
                "Offcourse reads safetensors: where you trust the file, open the model with transformers, "
                "save_pretrained it into another folder, and use that folder."
            )
        raise OffcourseError(f"{where} has neither {SINGLE} nor {INDEX}: it holds no weights. {repair}")
    names = _index(index, where, repair).values()
    files = sorted(set(names))
    if single.exists() and files != [SINGLE]:
        raise OffcourseError(
            f"{where} has {SINGLE} and beside it {INDEX}, which names other files: it is not clear which weights are "
            "meant. Remove one of the two."
        )
    if out := [name for name in files if Path(name).name != name]:
        raise OffcourseError(f"{where}: {INDEX} names {out[0]!r}, which is not a file of the folder. {repair}")
    return [folder / name for name in files]


def _index(index: Path, where: str, repair: str) -> dict[str, str]:
    """{tensor: file name} from the index."""
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise OffcourseError(
            f"{where}: {INDEX} is not the index of a model's weights ({error}); it may be truncated. {repair}"
        ) from error
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise OffcourseError(
            f"{where}: {INDEX} is not the index of a model's weights (weight_map gives no file per tensor). {repair}"
        )
    return names


def headers(folder: Path, where: str = "", repair: str = "") -> dict[str, Tensor]:
    """{tensor: header} of the files that `transformers` reads.

    Raises `OffcourseError` for a damaged file, a tensor in two files, and an index that disagrees with its files.
    """
    where = where or str(folder)
    repair = repair or f"Delete {folder} and run again: the model is prepared anew."
    found: dict[str, Tensor] = {}
    for path in weight_files(folder, where, repair):
        try:
            with safe_open(path, framework="numpy") as opened:
                slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
                here = {name: Tensor(path, tuple(s.get_shape()), s.get_dtype()) for name, s in slices.items()}
        except (SafetensorError, OSError) as error:
            raise OffcourseError(
                f"{where}: {path.name} cannot be read as safetensors ({error}); it may be truncated. {repair}"
            ) from error
        if twice := sorted(found.keys() & here.keys()):
            raise OffcourseError(
                f"{where}: the tensor {twice[0]} is in {found[twice[0]].file.name} and in {path.name}; it is not clear "
                f"which one is meant. {repair}"
            )
        found |= here
    index = folder / INDEX
    if index.exists():
        said = _index(index, where, repair)
        wrong = sorted(name for name in said.keys() | found.keys() if _file(found, name) != said.get(name))
        if wrong:
            name = wrong[0]
            raise OffcourseError(
                f"{where}: {INDEX} has {name} in {said.get(name) or 'no file'}, the files have it in "
                f"{_file(found, name) or 'none'}; {len(wrong)} tensors differ so. {repair}"
            )
    return found


def _file(found: Mapping[str, Tensor], name: str) -> str | None:
    return found[name].file.name if name in found else None
