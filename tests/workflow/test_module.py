"""The workflow as a module of another one, with other names of rules and all paths below a prefix."""

import os
import shutil
import subprocess

import pytest
from forking import python
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
    command = [python(), "-m", "snakemake", "--cores", "2", "--configfile", str(SMOKE), "--nolock", *more]
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


def test_without_a_prefix_and_with_the_user_s_own_configfile_results_are_those_of_the_study(finished, tmp_path):
    """The study's files lie where they lie without a module, so that a study that has run goes on as a module."""
    for name in ("resources", "results/store"):
        shutil.copytree(finished.folder / name, tmp_path / name, symlinks=True)
    shutil.copyfile(SMOKE, tmp_path / "study.yaml")
    targets = ", ".join(map(repr, TARGETS))
    text = WORKFLOW.format(checkout=CHECKOUT, prefix="", targets=targets)
    (tmp_path / "Snakefile").write_text(f'configfile: "study.yaml"\n\n\n{text}')
    done = run_in(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rule theirs_prompts:" in done.stderr + done.stdout
    for target in TARGETS:
        assert (tmp_path / target).read_bytes() == (finished.folder / target).read_bytes()
    names = sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("."))
    assert names == ["Snakefile", "resources", "results", "study.yaml"]
    same = "--rerun-triggers", "mtime", "params", "input"
    again = run_in(tmp_path, "--dry-run", *same)
    assert "Nothing to be done" in again.stdout + again.stderr
    # The whole study of the module, to the report.
    whole = run_in(tmp_path, "results/smoke/report.html", "--dry-run", *same)
    assert whole.returncode == 0 and "rule theirs_report:" in whole.stdout + whole.stderr
    # A mistake in the user's own file is one message that names the file.
    (tmp_path / "study.yaml").write_text(SMOKE.read_text().replace("models:", "modles:", 1))
    wrong = run_in(tmp_path, "--dry-run")
    assert wrong.returncode != 0 and "study.yaml: unknown key modles; did you mean 'models'?" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_a_prefix_that_replaces_parts_of_paths_is_refused(tmp_path):
    (tmp_path / "Snakefile").write_text(
        WORKFLOW.format(checkout=CHECKOUT, prefix='replace_prefix: {"results/": "there/"}', targets="")
    )
    done = run_in(tmp_path, "--dry-run", "--configfile", str(SMOKE))
    assert done.returncode != 0
    assert "as a module this workflow takes a prefix for its paths, and no replace_prefix" in done.stderr
    assert "Traceback" not in done.stderr


def run_in(folder, *more: str) -> subprocess.CompletedProcess:
    """Whatever workflow is in `folder`."""
    command = [python(), "-m", "snakemake", "--cores", "2", "--nolock", *more]
    return subprocess.run(command, cwd=folder, env=Lab(folder).environment, capture_output=True, text=True)
