"""Two labs: folders with a small study of the tiny model, whose steps run in this process."""

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import pyarrow as pa
from safetensors.numpy import load, save

from offcourse.data.registry import Registry
from offcourse.graph.keys import STEPS, steps_of
from offcourse.layout import Layout
from offcourse.methods.check_model import check_model
from offcourse.models.fetch import prepare
from offcourse.run import job
from offcourse.run.job import run_step
from offcourse.run.plain_context import context_of
from offcourse.share.pack import pack
from offcourse.share.verify import rounded
from offcourse.store.sealed_json import digest
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
    registry, layout = Registry.load(), Layout(the_study.study, base)
    return {name: run_step(name, the_study, registry, layout, MODEL, threads=1) for name in steps_of(the_study)}


def checked(base: Path, the_study: Study) -> None:
    """The model's self-checks, which measure and state its rounding floor."""
    layout = Layout(the_study.study, base)
    context = context_of(STEPS["icl"], the_study, Registry.load(), layout, MODEL, 1)
    check_model(context, layout.results / MODEL / "model.json")


def run_on_another_card(base: Path, the_study: Study) -> None:
    """Run the steps as a machine does that rounds otherwise."""
    real = job.compute

    def elsewhere(step, context, unit):
        if not step.runs_model:
            return real(step, context, unit)
        with rounded(context, 7):
            return real(step, context, unit)

    job.compute = elsewhere
    try:
        run(base, the_study)
    finally:
        job.compute = real


def copy(base: Path, target: Path) -> Path:
    shutil.copytree(base, target, symlinks=True)
    return target


def packed(base: Path, out: Path, the_study: Study | None = None) -> Path:
    the_study = the_study or study()
    pack(the_study, Registry.load(), Layout(the_study.study, base), out)
    return out


def files_of(archive: Path) -> dict[str, bytes]:
    """{path: content} of an archive, in its order."""
    with pa.input_stream(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
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


def keys_of(archive: Path) -> list[str]:
    return [result["key"] for result in json.loads(files_of(archive)["manifest.json"])["results"]]


def sealed(value: dict) -> bytes:
    value = {key: entry for key, entry in value.items() if key != "digest"}
    return (json.dumps({**value, "digest": digest(value)}, indent=2, ensure_ascii=False) + "\n").encode()


def again(files: dict[str, bytes], changed: dict[str, bytes] | None = None, **manifest) -> dict[str, bytes]:
    """The files with some changed, and a manifest that fits them: what a forger would send."""
    files = files | (changed or {})
    said = json.loads(files["manifest.json"])
    said["members"] = {
        name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(files.items())
        if name != "manifest.json"
    }
    return files | {"manifest.json": sealed(said | manifest)}


def of(files: dict[str, bytes], step: str, ending: str = ".json") -> str:
    """The path of a step's note or artefact in an archive."""
    [key] = [each["key"] for each in json.loads(files["manifest.json"])["results"] if each["step"] == step]
    return next(name for name in files if key in name and name.endswith(ending))


def forged(files: dict[str, bytes], step: str, change) -> dict[str, bytes]:
    """An archive's files with other tensors of a step; note, record and manifest fit them."""
    content = save(change(load(files[of(files, step, ".safetensors")])))
    sha = hashlib.sha256(content).hexdigest()
    note = sealed(json.loads(files[of(files, step)]) | {"sha256": sha})
    name = f"records/{MODEL}/{step}/{TASK}.json"
    record = json.loads(files[name])
    record = sealed(record | {"outputs": dict.fromkeys(record["outputs"], sha)})
    return again(files, {of(files, step, ".safetensors"): content, of(files, step): note, name: record})
