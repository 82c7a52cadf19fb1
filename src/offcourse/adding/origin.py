"""Finding the files of a model that is added: a folder, a GGUF file, or a repository of the model hub."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from offcourse.adding.draft import HELP, Origin
from offcourse.data.rows import Model
from offcourse.errors import OffcourseError
from offcourse.files import sha256, writing
from offcourse.models.bins import INDEX, pickled
from offcourse.models.hub import asking
from offcourse.models.local import LINKED

# The files of a repository that a row is filled from.
WANTED = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja")


@contextmanager
def opened(where: str, revision: str, empty: Model) -> Iterator[Origin]:
    """The files of a model: FOLDER, FILE.gguf or REPO. What is fetched or converted is gone behind the block.

    empty: a row that stands for the model in messages of the hub. Raises `OffcourseError`.
    """
    path = Path(where).expanduser()
    with tempfile.TemporaryDirectory(prefix="offcourse-") as scratch:
        if path.is_dir():
            yield _of_folder(path, where)
        elif path.suffix == ".gguf" or path.is_file():
            yield _of_gguf(path, where, Path(scratch))
        elif where.count("/") == 1 and not where.startswith((".", "/", "~")):
            yield _of_hub(where, revision, empty, Path(scratch))
        else:
            raise OffcourseError(
                f"{where!r} is no folder, no GGUF file, and no repository of the model hub (OWNER/NAME). {HELP}"
            )


@contextmanager
def loadable(origin: Origin) -> Iterator[Path]:
    """A folder with the weights of `origin` in safetensors: its own, or one in which its `.bin` files are rewritten.

    Messages of the block name the origin and not a temporary folder.
    """
    with tempfile.TemporaryDirectory(prefix="offcourse-") as scratch:
        folder = Path(scratch) if pickled(origin.names) else origin.weights
        if folder != origin.weights:
            _rewrite(origin, folder)
        try:
            yield folder
        except OffcourseError as error:
            raise OffcourseError(str(error).replace(str(folder), origin.where)) from error


def _rewrite(origin: Origin, folder: Path) -> None:
    from offcourse.models.pickled import rewrite

    for each in origin.weights.iterdir():
        if each.suffix in LINKED and each.name != INDEX:
            os.symlink(each.resolve(), folder / each.name)
    with writing(f"below {folder}"):
        rewrite(origin.weights, folder, origin.where, HELP)


def _of_folder(path: Path, where: str) -> Origin:
    names = tuple(sorted(each.name for each in path.iterdir()))
    if not any(name in ("config.json", "adapter_config.json") or name.endswith(".gguf") for name in names):
        raise OffcourseError(f"{where} has no config.json, so it is no model folder. {HELP}")
    row = {"source": "local", "repo": where.rstrip("/"), "revision": "", "licence": "", "gated": False}
    return Origin(where, path, names, row, path)


def _of_gguf(path: Path, where: str, scratch: Path) -> Origin:
    from offcourse.models.gguf import convert

    if not path.is_file():
        raise OffcourseError(f"there is no file {where}. {HELP}")
    with open(path, "rb") as file:
        if file.read(4) != b"GGUF":
            raise OffcourseError(
                f"{where} is no GGUF file, since it does not begin with GGUF. Give a GGUF file, a model's folder, or a "
                f"repository of the model hub (OWNER/NAME). {HELP}"
            )
    # The row's revision pins the file.
    digest = sha256(path)
    with writing(f"below {scratch}"):
        convert(path.resolve(), scratch)
    names = tuple(sorted(each.name for each in scratch.iterdir()))
    row = {"source": "local", "repo": where, "revision": digest, "licence": "", "gated": False}
    return Origin(where, scratch, names, row, scratch)


def _of_hub(repo: str, revision: str, empty: Model, scratch: Path) -> Origin:
    where = f"{repo} at {revision}"
    unreachable = (
        f"the hub cannot be asked about {where} ({{reason}}). Run the same command where it can be reached "
        f"(HF_ENDPOINT names another address of it). {HELP}"
    )
    with asking(replace(empty, name="", repo=repo, revision=revision, licence=""), where, unreachable):
        from huggingface_hub import HfApi, hf_hub_download

        info = HfApi().model_info(repo, revision=revision)
        names = tuple(sorted(each.rfilename for each in info.siblings or []))
        for name in (name for name in WANTED if name in names):
            hf_hub_download(repo, name, revision=info.sha, local_dir=scratch)
    licence = str(info.card_data.get("license") or "") if info.card_data else ""
    row = {"source": "hub", "repo": repo, "revision": revision, "licence": licence, "gated": bool(info.gated)}
    return Origin(where, scratch, names, row)
