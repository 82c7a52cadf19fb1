"""What the verbs of `offcourse` answer: quickly, a line a row where piped, and of the right thing."""

import json
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from lab import CHECKOUT, SMOKE, Lab
from test_verbs import run

from offcourse.errors import OffcourseError
from offcourse.study.config import load_study

HELP = """
import sys
sys.argv[1:] = {words}
try:
    from offcourse.cli import main
    main()
except SystemExit:
    pass
"""
VERBS = ["", "status", "audit", "capsule", "diff", "compare", "find", "pin", "plan", "check-gpu"]
HEAVY = ("pandas", "numpy", "pandera", "pyarrow", "requests", "torch")


@pytest.mark.parametrize("verb", VERBS)
def test_a_help_text_imports_nothing_that_takes_seconds(verb):
    """Seconds depend on the machine; what is imported does not."""
    code = HELP.format(words=[*filter(None, [verb]), "--help"])
    code += f"print('imported', [name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout and done.stdout.rstrip().endswith("imported []")


def test_the_version_is_that_of_the_package(monkeypatch, capsys):
    code, out, _ = run(monkeypatch, capsys, "--version")
    said = re.search(r'^version = "(.*)"$', (CHECKOUT / "pyproject.toml").read_text(), re.M)
    assert (code or 0, out) == (0, f"offcourse {said[1]}\n")


def test_a_piped_status_has_a_line_for_each_row(lab):
    """However long the reason is."""
    rows = len(lab.states())
    for path in (lab.folder / "results/smoke").glob("tiny-llama/*/antonym.parquet"):
        path.unlink()
    lines = lab.offcourse("status").stdout.splitlines()
    assert len(lines) == 1 + rows + 1 and lines[0].split() == ["step", "model", "unit", "state"]
    assert max(map(len, lines)) > 80 and lines == [line.rstrip() for line in lines]
    assert sum(" stale: " in line for line in lines) == int(lines[-1].split()[2])


def test_a_piped_plan_is_not_cut(lab):
    lines = lab.offcourse("plan", "--rates", "a100").stdout.splitlines()
    head = next(line for line in lines if line.split()[:1] == ["step"])
    assert head.split() == ["step", "jobs", "done", "PFLOP", "hours", "load", "GB", "cards", "Slurm", "jobs", "GPU-h"]
    assert "…" not in "".join(lines)


def test_a_version_is_found_with_or_without_its_build(finished, monkeypatch, capsys):
    record = json.loads((finished.folder / "results/smoke/provenance/tiny-llama/check_model.json").read_text())
    torch = record["code"]["packages"]["torch"] if "packages" in record["code"] else record["made"]["packages"]["torch"]
    paths = []
    for asked in (torch, torch.partition("+")[0]):
        words = ["find", "--where", f"packages.torch={asked}", "--directory", finished.folder, "--json"]
        code, out, _ = run(monkeypatch, capsys, *words)
        paths.append([result["path"] for result in json.loads(out)["results"]])
        assert code == 0
    assert paths[0] == paths[1] != []
    assert run(monkeypatch, capsys, *words[:2], "packages.torch=2", *words[3:])[0] == 1


WHERE = ["--configfile", SMOKE, "--json", "--directory"]
NUMBERS = [
    ("certainty", "function vector, tiny-llama, antonym", "best"),
    ("certainty", "Task vector, present-past", "by luck (95 %)"),
    ("certainty", "dola, misconceptions", "p (Holm)"),
    ("steering_summary", "function vector, antonym", "few-shot"),
    ("sensitivity", "head_read_position, FV search, 0.90", "before"),
    ("off_by_one", "antonym, 42, one_early", "difference"),
]


@pytest.mark.parametrize("cell", NUMBERS, ids=" ".join)
def test_a_number_of_a_summary_is_computed_again(lab, monkeypatch, capsys, cell):
    name, row, column = cell
    words = ["audit", name, "--row", row, "--column", column, *WHERE, lab.folder]
    code, out, err = run(monkeypatch, capsys, *words)
    found = json.loads(out)
    assert code == 0, err
    assert found["agrees"] and found["value"] == found["recomputed"] and found["artefacts"]
    if "antonym" in row:
        assert all("/antonym." in path for path in found["artefacts"])
    # A number that was changed in the table is noticed.
    path = lab.folder / "results/smoke/tables" / f"{name}.parquet"
    frame = pd.read_parquet(path)
    for changed in {found["column"], "p_holm", "few_shot"} & set(frame):
        frame[changed] += 1
    frame.to_parquet(path)
    code, out, _ = run(monkeypatch, capsys, *words)
    # "by luck (95 %)" is a text of the printed table, which was not changed; the file itself is not what was recorded.
    assert code == 1 and json.loads(out)["agrees"] == (column == "by luck (95 %)")


def test_a_row_or_column_that_is_not_there_or_not_said_is_asked_for(finished, monkeypatch, capsys):
    def refused(*words):
        code, _, err = run(monkeypatch, capsys, "audit", *words, *WHERE, finished.folder)
        assert code == 2 and err.count("\n") == 1 and "None" not in err
        return err

    assert "say which number of table3, FV search: --column is one of 0.50, 0.75, 0.90, 1.00." in refused(
        "table3", "--row", "FV search"
    )
    assert "did you mean 'antonym'?" in refused("certainty", "--row", "antonyms", "--column", "best")
    assert "did you mean 'best'?" in refused("certainty", "--row", "function vector, antonym", "--column", "bset")
    assert "--column is one of" in refused("certainty", "--row", "function vector, antonym")


@pytest.mark.parametrize("column", ["0.90", "≥ 0.90", "0.9"])
def test_a_column_is_taken_as_the_report_prints_it(finished, monkeypatch, capsys, column):
    words = ["audit", "table3", "--row", "fv search", "--column", column, *WHERE, finished.folder]
    code, out, _ = run(monkeypatch, capsys, *words)
    assert code == 0 and json.loads(out)["agrees"]


def test_a_study_of_questions_needs_no_tasks(tmp_path):
    """Of DoLa and the lens alone; a method that runs on tasks asks for them."""
    study = {"study": "asked", "models": ["tiny-llama"], "methods": ["dola", "logit_lens"]}
    assert load_study(study).tasks == []
    with pytest.raises(OffcourseError, match="the key tasks is missing, on which task_vectors would run"):
        load_study(study | {"methods": ["dola", "task_vectors"]})
    smoke = yaml.safe_load(SMOKE.read_text())
    path = tmp_path / "asked.yaml"
    path.write_text(yaml.safe_dump(study | {name: smoke[name] for name in study["methods"]}))
    lab = Lab(tmp_path, path)
    planned = lab.snakemake("--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "rule dola:" in planned.stdout + planned.stderr
    jobs = json.loads(lab.offcourse("plan", "--rates", "a100", "--json").stdout)["jobs"]
    assert {job["name"] for job in jobs} == {"check_model", "dola", "readings"}
    assert lab.offcourse("status").returncode == 1


def test_a_study_that_is_not_there_is_said_before_anything_is_installed(tmp_path):
    shutil.copy(CHECKOUT / "Makefile", tmp_path)
    for goal in ([], ["published"]):
        done = subprocess.run(["make", "CONFIG=missing.yaml", *goal], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode != 0 and done.stdout == ""
        assert "there is no file missing.yaml: CONFIG names the YAML file of a study" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


def test_a_study_whose_name_has_a_blank_is_found(tmp_path):
    shutil.copy(CHECKOUT / "Makefile", tmp_path)
    (tmp_path / "my study.yaml").touch()
    command = ["make", "--dry-run", "CONFIG=my study.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "there is no file" not in done.stderr  # the lock is what is missing here
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "--configfile 'my study.yaml'" in done.stdout


def test_an_environment_that_was_copied_with_its_checkout_is_said(tmp_path):
    """What `make` installs says where; a copy stops with advice that works, a link does not stop."""
    here, there = tmp_path / "here", tmp_path / "an other"
    here.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(CHECKOUT / name, here)
    recipe = subprocess.run(["make", "--dry-run", "install"], cwd=here, capture_output=True, text=True, check=True)
    [last] = [line for line in recipe.stdout.splitlines() if line.endswith("> .venv/installed")]
    (here / ".venv").mkdir()
    subprocess.run(last, shell=True, cwd=here, check=True)
    shutil.copytree(here, there)
    (tmp_path / "link").symlink_to(here)
    for goal in ("study", "install", "published", "lint"):
        command = ["make", "--dry-run", f"CONFIG={CHECKOUT / 'config.yaml'}", goal]
        for place in (here, tmp_path / "link"):
            assert subprocess.run(command, cwd=place, capture_output=True).returncode == 0
        done = subprocess.run(command, cwd=there, capture_output=True, text=True)
        assert done.returncode != 0 and done.stdout == ""
        assert f".venv was installed for {here}, and" in done.stderr and "Delete the folder .venv" in done.stderr
    shutil.rmtree(there / ".venv")
    done = subprocess.run(["make", "--dry-run", "install"], cwd=there, capture_output=True, text=True)
    assert done.returncode == 0 and "-m venv .venv" in done.stdout


def test_an_argument_that_is_no_text_is_said(finished):
    command = [sys.executable, "-m", "offcourse", "audit", "table3", "--row", b"\xff", "--column", "0.90"]
    done = subprocess.run(command, capture_output=True, cwd=CHECKOUT, env=finished.environment)
    assert (done.returncode, done.stdout) == (2, b"")
    said = (
        r"offcourse: the command has the argument '\udcff', which is not UTF-8 text. Type it again, or rename the file."
    )
    assert done.stderr.decode() == f"{said}\n"
