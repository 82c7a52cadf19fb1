"""The code is edited while a job runs: it finishes with what it started with and its record says so, or it refuses."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from forking import environment, python
from lab import copy_checkout

from offcourse.data.registry import Registry
from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.models.fetch import prepare
from offcourse.provenance.records import read_record
from offcourse.run.job import run_step
from offcourse.store.fingerprint import modules_behind
from offcourse.study.config import load_study

MODEL = "tiny-llama"
STUDY = {
    "study": "one",
    "models": [MODEL],
    "tasks": ["antonym", "present-past"],
    "function_vectors": {"shots": 10, "trials": 1, "n_heads": [2], "strengths": [1], "test_items": 50},
}
CODE = """
from offcourse.run.log import logged
from offcourse.run.job import run_step
from offcourse.layout import Layout
from offcourse.data.registry import Registry
from offcourse.graph.keys import STEPS
from offcourse.store.fingerprint import modules_behind
from offcourse.study.config import load_study
with logged("log"):
    run_step("icl", load_study({study}), Registry.load(), Layout("one"), "{model}", threads=1)
"""


@pytest.fixture
def begun(tmp_path) -> tuple[Path, Layout]:
    """A copy of the checkout, and a folder in which the step `icl` can run from it."""
    layout, registry = Layout("one", tmp_path / "run"), Registry.load()
    layout.base.mkdir()
    prepare(registry.model(MODEL), registry, layout.model_folder(MODEL), layout.downloads)
    run_step("prompts", load_study(STUDY), registry, layout, MODEL)
    return copy_checkout(tmp_path / "checkout"), layout


def start(checkout: Path, folder: Path) -> subprocess.Popen:
    program = folder.with_name("program.py")
    program.write_text(CODE.format(study=STUDY, model=MODEL))
    variables = environment() | {"PYTHONPATH": str(checkout / "src")}
    return subprocess.Popen([python(), str(program)], cwd=folder, env=variables, stderr=subprocess.PIPE, text=True)


def test_a_job_finishes_with_the_code_it_started_with(begun):
    checkout, layout = begun
    module = checkout / "src" / "offcourse" / "methods" / "icl.py"
    before, log = module.read_text(), layout.base / "log"
    code = modules_behind(*STEPS["icl"].targets)
    run = start(checkout, layout.base)
    deadline = time.monotonic() + 600
    while not (log.exists() and "antonym: computed" in log.read_text()):
        assert run.poll() is None and time.monotonic() < deadline, run.stderr.read()
        time.sleep(0.01)
    module.write_text(before + "\nraise SystemExit('the edited code ran')\n")
    _, said = run.communicate(timeout=600)
    assert run.returncode == 0, said
    for task in STUDY["tasks"]:
        record = read_record(layout.record("icl", MODEL, task))
        assert record["code"]["modules"]["offcourse.methods.icl"] == code["offcourse.methods.icl"]
        assert record["parts"]["code"] == record["code"]["modules"]


def test_a_job_refuses_code_that_changed_while_it_started(begun):
    checkout, layout = begun
    later = time.time() + 3600
    os.utime(checkout / "src" / "offcourse" / "engine" / "run.py", (later, later))
    run = start(checkout, layout.base)
    _, said = run.communicate(timeout=600)
    assert run.returncode == 1
    assert "offcourse: offcourse.engine.run changed while this job was starting" in said and "Traceback" not in said
    assert not layout.artefact("icl", ".parquet", MODEL, "antonym").exists()
