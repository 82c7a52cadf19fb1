"""Finding the files of a model that is added: a folder, a GGUF file, or a repository of the model hub."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from offcourse.data.rows import Model
from offcourse.errors import OffcourseError
from offcourse.files import sha256
from offcourse.models.draft import HELP, Origin
from offcourse.models.hub import asking

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


def _of_folder(path: Path, where: str) -> Origin:
    if not (path / "config.json").is_file():
        raise OffcourseError(f"{where} has no config.json, so it is no model folder. {HELP}")
    names = tuple(sorted(each.name for each in path.iterdir()))
    row = {"source": "local", "repo": where.rstrip("/"), "revision": "", "licence": "", "gated": False}
    return Origin(where, path, names, row, path)


def _of_gguf(path: Path, where: str, scratch: Path) -> Origin:
    from offcourse.models.gguf import convert

    if not path.is_file():
        raise OffcourseError(f"there is no file {where}. {HELP}")
    # The row's revision pins the file.
    digest = sha256(path)
    convert(path.resolve(), scratch)
    row = {"source": "local", "repo": where, "revision": digest, "licence": "", "gated": False}
    return Origin(where, scratch, (path.name,), row, scratch)


def _of_hub(repo: str, revision: str, empty: Model, scratch: Path) -> Origin:
    where = f"{repo} at {revision}"
    unreachable = (
        f"the hub cannot be asked about {where} ({{reason}}). Run the same command where it can be reached "
        f"(HF_ENDPOINT names another address of it). {HELP}"
    )
    with asking(empty, where, unreachable):
        from huggingface_hub import HfApi, hf_hub_download

        info = HfApi().model_info(repo, revision=revision)
        names = tuple(sorted(each.rfilename for each in info.siblings or []))
        for name in (name for name in WANTED if name in names):
            hf_hub_download(repo, name, revision=info.sha, local_dir=scratch)
    licence = str(info.card_data.get("license") or "") if info.card_data else ""
    row = {"source": "hub", "repo": repo, "revision": revision, "licence": licence, "gated": bool(info.gated)}
    return Origin(where, scratch, names, row)
