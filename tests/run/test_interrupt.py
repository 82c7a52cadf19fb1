"""Ctrl-C in the middle of a step: finished results stay whole, unfinished ones leave no file, and a rerun continues."""

import os
import signal
import subprocess
import sys
import time

from offcourse.data.registry import Registry
from offcourse.layout import Layout
from offcourse.models.fetch import prepare
from offcourse.run.job import run_step
from offcourse.schemas.function_vectors import ICL
from offcourse.schemas.io import read_parquet
from offcourse.study.config import load_study

MODEL, TASKS = "tiny-llama", ["antonym", "present-past"]
STUDY = {
    "study": "one",
    "models": [MODEL],
    "tasks": TASKS,
    "function_vectors": {"shots": 10, "trials": 1, "n_heads": [2], "strengths": [1], "test_items": 50},
}
CODE = """
from offcourse.run.log import logged
from offcourse.run.job import run_step
from offcourse.layout import Layout
from offcourse.data.registry import Registry
from offcourse.study.config import load_study
with logged("log"):
    run_step("icl", load_study({study}), Registry.load(), Layout("one"), "{model}", threads=1)
"""


def test_an_interrupted_step_leaves_whole_files_and_a_rerun_continues(tmp_path, capsys):
    registry, layout, study = Registry.load(), Layout("one", tmp_path), load_study(STUDY)
    prepare(registry.model(MODEL), registry, layout.model_folder(MODEL), layout.downloads)
    run_step("prompts", study, registry, layout, MODEL)
    log = tmp_path / "log"
    program = CODE.format(study=STUDY, model=MODEL)
    with open(tmp_path / "out", "w") as out:
        run = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stdout=out, stderr=out)
        deadline = time.monotonic() + 600
        while not (log.exists() and "antonym: computed" in log.read_text()):
            assert run.poll() is None, (tmp_path / "out").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(run.pid, signal.SIGINT)
        code = run.wait(timeout=120)
    # The exception is raised on after it was written to the log, so that Python prints it as well.
    said = log.read_text() + (tmp_path / "out").read_text()
    assert code != 0 and "KeyboardInterrupt" in said, (code, said)
    assert [path for path in tmp_path.rglob(".*") if path.is_file()] == []
    done = layout.artefact("icl", ".parquet", MODEL, "antonym")
    assert len(read_parquet(done, ICL)) == 11 * 50
    assert not layout.artefact("icl", ".parquet", MODEL, "present-past").exists()
    capsys.readouterr()
    assert run_step("icl", study, registry, layout, MODEL, threads=1) == ["present-past"]
    assert "antonym: from the store" in capsys.readouterr().err
