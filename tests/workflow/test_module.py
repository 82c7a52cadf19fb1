"""The workflow as a module of another one, with other names of rules and all paths below a prefix."""

import os
import shutil
import subprocess
import sys

import pytest
from lab import CHECKOUT, SMOKE, Lab

MODEL = "tiny-llama"
WORKFLOW = """
module offcourse:
    snakefile: "{checkout}/Snakefile"
    config: config
    {prefix}


use rule * from offcourse as theirs_*


rule mine:
    default_target: True
    input:
        [{targets}],
"""
# A step, a model's check, and a table: scripts that serve many rules, and one of its own.
TARGETS = (f"results/smoke/{MODEL}/prompts/antonym.parquet", "results/smoke/tables/table11.csv")


def run(folder, prefix: str, *more: str) -> subprocess.CompletedProcess:
    """The workflow that uses ours, in `folder`."""
    targets = ", ".join(repr(os.path.join(prefix, target)) for target in TARGETS)
    text = WORKFLOW.format(checkout=CHECKOUT, prefix=f'prefix: "{prefix}"' if prefix else "", targets=targets)
    (folder / "Snakefile").write_text(text)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", str(SMOKE), "--nolock", *more]
    return subprocess.run(command, cwd=folder, env=Lab(folder).environment, capture_output=True, text=True)


@pytest.fixture
def folder(finished, tmp_path):
    """A folder whose prefix has a prepared model and the store of a finished study, so that little is computed."""
    for name in ("resources", "results/store"):
        shutil.copytree(finished.folder / name, tmp_path / "below" / name, symlinks=True)
    return tmp_path


def test_below_a_prefix_with_other_names_results_are_those_of_the_study(folder, finished):
    done = run(folder, "below")
    assert done.returncode == 0, done.stderr
    assert "rule theirs_prompts:" in done.stderr + done.stdout
    assert not (folder / "results").exists() and not (folder / "resources").exists()
    for target in TARGETS:
        assert (folder / "below" / target).read_bytes() == (finished.folder / target).read_bytes()
    again = run(folder, "below", "--dry-run", "--rerun-triggers", "mtime", "params", "input")
    assert "Nothing to be done" in again.stdout + again.stderr
    # Its damage is found there as well.
    (folder / "below" / "results" / "smoke" / "provenance" / MODEL / "prompts" / "antonym.json").unlink()
    plan = run(folder, "below", "--dry-run", "--rerun-triggers", "mtime", "params", "input")
    assert "rule theirs_prompts:" in plan.stdout + plan.stderr


def test_a_prefix_that_replaces_parts_of_paths_is_refused(tmp_path):
    (tmp_path / "Snakefile").write_text(
        WORKFLOW.format(checkout=CHECKOUT, prefix='replace_prefix: {"results/": "there/"}', targets="")
    )
    done = run_in(tmp_path)
    assert done.returncode != 0
    assert "as a module this workflow takes a prefix for its paths, and no replace_prefix" in done.stderr
    assert "Traceback" not in done.stderr


def run_in(folder) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", str(SMOKE), "--dry-run"]
    return subprocess.run(command, cwd=folder, env=Lab(folder).environment, capture_output=True, text=True)
