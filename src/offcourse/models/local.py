"""Models of source `local`: the user's own folder or GGUF file, and whether it still is the model that was prepared.

The prepared folder has links to the files of a model folder, or a conversion of a GGUF file. Neither shows that `repo`
leads to another model now: a link was turned to another version, a file was added, the GGUF file was replaced.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from offcourse.data.rows import Model
from offcourse.errors import OffcourseError
from offcourse.files import sha256
from offcourse.models.bins import INDEX, pickled
from offcourse.models.folder import UNDAMAGED
from offcourse.models.headers import weight_files
from offcourse.models.manifest import MANIFEST, SEEN, read_manifest, still_is

# In the manifest of a folder that was converted from files of the user's own: the sha256 of the GGUF file, or
# {name: sha256} of the `.bin` files.
CONVERTED = "converted"
# Files of a local model that are linked, by suffix.
LINKED = (".json", ".safetensors", ".model", ".txt", ".jinja")


def take(model: Model, folder: Path) -> dict[str, Any]:
    """Link a model's files into `folder`, or convert its GGUF or `.bin` files there; what the manifest notes of them.

    Raises `OffcourseError` when `repo` is neither.
    """
    origin = _origin(model, Path())
    if _is_folder(origin):
        # Check the origin and not the links in the prepared folder: weights in another format are not linked, so the
        # message would say that the folder holds no weights.
        where, linked = f"{model.name} ({model.repo})", dict(_linked(origin, model.name))
        bins = pickled([path.name for path in origin.iterdir()])
        if not bins:
            weight_files(origin, where, UNDAMAGED)
        for name, path in linked.items():
            if not (bins and name == INDEX):
                os.symlink(path, folder / name)
        return {CONVERTED: _rewritten(model, origin, folder, bins, where)} if bins else {}
    if (file := _gguf(origin)) is not None:
        from offcourse.models.gguf import convert

        before = sha256(file)
        if model.revision and model.revision != before:
            raise OffcourseError(
                f"{model.name}: {file} has sha256 {before}, and `revision` of resources/models.tsv says "
                f"{model.revision}: it is another file than the one that was added. Use that file, or correct the cell."
            )
        convert(file, folder)
        if sha256(file) != before:
            raise OffcourseError(f"{model.name}: {file} was written to while it was converted. Run again.")
        return {CONVERTED: before}
    raise OffcourseError(
        f"{model.name}: {origin} is neither a model folder with config.json and safetensors, nor one GGUF file. "
        "Correct `repo` in resources/models.tsv."
    )


def _rewritten(model: Model, origin: Path, folder: Path, bins: list[str], where: str) -> dict[str, str]:
    """{name: sha256} of the `.bin` files whose weights were written into `folder` as safetensors."""
    from offcourse.models.pickled import rewrite

    before = {name: sha256(_file_behind(origin / name, model.name)) for name in bins}
    rewrite(origin, folder, where, UNDAMAGED)
    if written := [name for name in bins if sha256(origin / name) != before[name]]:
        raise OffcourseError(f"{model.name}: {origin / written[0]} was written to while it was converted. Run again.")
    return before


def another(model: Model, folder: Path, base: Path) -> list[str]:
    """What differs between the model that `repo` leads to now and the one in the prepared `folder`, in words.

    base: the folder that the study runs in. An origin that is gone is no other model: what is prepared is checked by
    `models.manifest.changes`. Raises `OffcourseError` when the manifest cannot be read.
    """
    if model.source != "local":
        return []
    origin, prepared = _origin(model, base), read_manifest(folder)["files"]
    converted = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get(CONVERTED)
    if _is_folder(origin):
        if isinstance(converted, str):
            return [f"{model.repo} is a model folder now, and was a GGUF file"]
        return _files_differ(model, origin, folder, prepared, converted or {})
    file = _gguf(origin)
    if file is None or (isinstance(converted, str) and still_is(folder, file.name, file, converted)):
        return []
    state = "another GGUF file now" if converted else "not known as the GGUF file that this model was made of"
    return [f"{model.repo} is {state}"]


def _files_differ(
    model: Model, origin: Path, folder: Path, prepared: Mapping[str, Any], converted: Mapping[str, str]
) -> list[str]:
    try:
        now = dict(_linked(origin, model.name))
        if converted:
            # Their weights were written as safetensors, which the origin does not have.
            prepared = {name: value for name, value in prepared.items() if "safetensors" not in name} | converted
            now = {name: path for name, path in now.items() if name != INDEX}
            now |= {name: _file_behind(origin / name, model.name) for name in pickled(os.listdir(origin))}
    except OffcourseError as error:
        return [str(error)]
    found = [f"{model.repo} has {name} now" for name in now if name not in prepared]
    found += [f"{model.repo} has no {name} now" for name in prepared if name not in now]
    found += [
        f"{model.repo}/{name} is another file now"
        for name, path in now.items()
        # What the link leads to is checked with the prepared folder.
        if name in prepared and (folder / name).resolve() != path and not still_is(folder, name, path, prepared[name])
    ]
    return found


def _origin(model: Model, base: Path) -> Path:
    return base / Path(model.repo).expanduser()


def _is_folder(origin: Path) -> bool:
    return origin.is_dir() and (origin / "config.json").exists()


def _gguf(origin: Path) -> Path | None:
    """The one GGUF file that `origin` is or holds."""
    files = list(origin.glob("*.gguf")) if origin.is_dir() else [origin] if origin.suffix == ".gguf" else []
    return files[0] if len(files) == 1 and files[0].exists() else None


def _linked(origin: Path, name: str) -> Iterator[tuple[str, Path]]:
    """(name, regular file) of each file of a model folder that is linked."""
    for path in sorted(origin.iterdir()):
        if path.suffix in LINKED and path.name not in (MANIFEST, SEEN):
            yield path.name, _file_behind(path, name)


def _file_behind(path: Path, name: str) -> Path:
    """The regular file that a path of a model folder leads to."""
    try:
        found = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise OffcourseError(
            f"{name}: {path} is a link that leads to no file ({error}). Mend it or remove it."
        ) from error
    if not found.is_file():
        raise OffcourseError(f"{name}: {path} is no regular file. Remove it from the model's folder.")
    return found
