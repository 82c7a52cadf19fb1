"""Two labs: folders with a small study of the tiny model, whose steps run in this process."""

import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path

from offcourse.data.registry import Registry
from offcourse.graph.keys import steps_of
from offcourse.layout import Layout
from offcourse.models.fetch import prepare
from offcourse.run.job import run_step
from offcourse.share.pack import pack
from offcourse.study.config import Study, load_study

MODEL, TASK, QUESTIONS = "tiny-llama", "present-past", "misconceptions"
STUDY = {
    "study": "one",
    "models": [MODEL],
    "tasks": [TASK],
    "methods": ["function_vectors", "dola"],
    "function_vectors": {"shots": 2, "trials": 2, "n_heads": [2], "strengths": [1], "test_items": 3},
    "dola": {"questions": [QUESTIONS], "limit": 2, "alphas": [0.5]},
}


def study(**changes) -> Study:
    return load_study(STUDY | changes)


def prepared(base: Path) -> Path:
    """A folder with the prepared model and no result."""
    registry, layout = Registry.load(), Layout("one", base)
    prepare(registry.model(MODEL), registry, layout.model_folder(MODEL), layout.downloads)
    return base


def run(base: Path, the_study: Study) -> dict[str, list[str]]:
    """Run the steps of a study; {step: units that were computed and not taken from the store}."""
    layout = Layout(the_study.study, base)
    return {name: run_step(name, the_study, Registry.load(), layout, MODEL, threads=1) for name in steps_of(the_study)}


def copy(base: Path, target: Path) -> Path:
    shutil.copytree(base, target, symlinks=True)
    return target


def packed(base: Path, out: Path, the_study: Study | None = None) -> Path:
    the_study = the_study or study()
    pack(the_study, Registry.load(), Layout(the_study.study, base), out)
    return out


def files_of(archive: Path) -> dict[str, bytes]:
    """{path: content} of an archive, in its order."""
    with tarfile.open(archive) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}


def written(archive: Path, files: dict[str, bytes], more: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    """An archive of these files, and of headers that no study writes."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in more:
            tar.addfile(info)
    archive.write_bytes(gzip.compress(stream.getvalue()))
    return archive


def store_of(base: Path) -> dict[str, bytes]:
    """Everything below results/ but the lock, by path."""
    folder = base / "results"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def made(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))["made"]
