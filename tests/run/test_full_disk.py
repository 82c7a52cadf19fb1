"""A disk that becomes full in the middle of a step: one message, whole files only, and a rerun continues."""

import json
import shutil

import pytest
import small_disk

from offcourse.data.registry import Registry
from offcourse.files import sha256
from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.models.fetch import prepare
from offcourse.run.job import run_step
from offcourse.study.config import load_study

MODEL, TASKS = "tiny-llama", ["antonym", "present-past"]
STUDY = {
    "study": "one",
    "models": [MODEL],
    "tasks": TASKS,
    "methods": ["function_vectors", "task_vectors"],
    "function_vectors": {"shots": 1, "trials": 1, "n_heads": [2], "strengths": [1], "test_items": 2},
    "task_vectors": {"shots": 1, "dev_items": 1, "test_items": 1, "baseline_items": 1},
}
CODE = """
from offcourse.run.log import logged
from offcourse.run.job import run_step
from offcourse.layout import Layout
from offcourse.data.registry import Registry
from offcourse.study.config import load_study
with logged("log"):
    study = load_study({study})
    limit_files({size})
    run_step("{step}", study, Registry.load(), Layout("one"), "{model}", threads=1)
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder where the steps have run that write tensors, and those before them."""
    folder = tmp_path_factory.mktemp("done")
    registry, layout, study = Registry.load(), Layout("one", folder), load_study(STUDY)
    prepare(registry.model(MODEL), registry, layout.model_folder(MODEL), layout.downloads)
    for step in ("prompts", "head_means", "cie", "function_vectors", "task_vectors"):
        run_step(step, study, registry, layout, MODEL, threads=1)
    return folder


# A limit between the log's few words and the file; the first three are safetensors, the last one is parquet.
@pytest.mark.parametrize(
    ("step", "size"), [("head_means", 300), ("function_vectors", 150), ("task_vectors", 300), ("cie", 300)]
)
def test_a_full_disk_leaves_whole_files_and_a_rerun_continues(done, tmp_path, step, size):
    folder = tmp_path / "full"
    shutil.copytree(done, folder)
    layout, second = Layout("one", folder), TASKS[1]
    artefact = layout.artefact(step, STEPS[step].suffix, MODEL, second)
    made, record = artefact.read_bytes(), layout.record(step, MODEL, second)
    key = json.loads(record.read_text())["key"]
    for path in (artefact, record, *layout.store.rglob(f"{key}.*")):
        path.unlink()
    before = small_disk.files(folder)
    code = CODE.format(study=STUDY | {"tasks": [second]}, step=step, size=size, model=MODEL)
    failed = small_disk.run(code, folder)
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"offcourse: cannot write {layout.store.relative_to(folder)}/{key[:2]}/{key}")
    assert "File too large" in failed.stderr
    assert "Traceback" not in failed.stderr
    (folder / "log").unlink()
    assert small_disk.files(folder) == before
    study = load_study(STUDY)
    assert run_step(step, study, Registry.load(), layout, MODEL, threads=1) == [second]
    assert artefact.read_bytes() == made
    assert list(json.loads(record.read_text())["outputs"].values()) == [sha256(artefact)]
