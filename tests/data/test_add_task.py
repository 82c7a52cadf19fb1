"""`offcourse add-task`: a row of tasks.tsv from a list of word pairs."""

import shutil

import pytest
from typer.testing import CliRunner

from offcourse.cli import app
from offcourse.data import names
from offcourse.data.registry import Registry
from offcourse.data.tasks import load_pairs
from offcourse.errors import OffcourseError

PAIRS = [(f"animal{i}", f"young{i}") for i in range(24)]


def written(path, pairs=PAIRS, header=("animal", "young")):
    path.write_text("".join("\t".join(row) + "\n" for row in [header, *pairs]), encoding="utf-8")
    return path


@pytest.fixture
def resources(tmp_path, monkeypatch):
    folder = tmp_path / "resources"
    shutil.copytree(names.RESOURCES, folder, ignore=shutil.ignore_patterns("downloads"))
    monkeypatch.setattr(names, "RESOURCES", folder)
    load = Registry.load
    monkeypatch.setattr(Registry, "load", lambda folder=folder, locked=True: load(folder, locked))
    return folder


def add(*words):
    done = CliRunner().invoke(app, ["add-task", *map(str, words)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_a_list_becomes_a_task(resources, tmp_path):
    said = add(written(tmp_path / "Animal Young.tsv"))
    assert "24 pairs" in said and "animal-young was added" in said
    task = Registry.load(resources).task("animal-young")
    assert (task.label, task.group, task.words) == ("Animal Young", "factual", "animal-young.tsv")
    assert load_pairs(task, "embedded", resources) == PAIRS


def test_a_dry_run_writes_nothing(resources, tmp_path):
    before = (resources / "tasks.tsv").read_bytes()
    assert "Nothing was written" in add(written(tmp_path / "young.tsv"), "--dry-run")
    assert (resources / "tasks.tsv").read_bytes() == before and not (resources / "words" / "young.tsv").exists()


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        ({}, ["--name", "antonym"], "has a task 'antonym' already"),
        ({}, ["--name", "verbs"], "there is a file .*verbs.tsv already"),
        ({}, ["--group", "animals"], "the new row of tasks.tsv, line 2, column group: expected one of linguistic"),
        ({}, ["--match", "near"], "column task_vector_match"),
        ({"pairs": PAIRS[:8]}, [], "has 8 pairs; .* at least 20"),
        ({"pairs": [*PAIRS, PAIRS[3]]}, [], "'animal3' in column 'animal' was already on line 5"),
        ({"header": ("a",), "pairs": [("b",)]}, [], "has the columns a; expected two"),
    ],
)
def test_what_is_refused(resources, tmp_path, change, words, message):
    before = sorted((path.name, path.stat().st_size) for path in resources.rglob("*"))
    with pytest.raises(OffcourseError, match=message):
        add(written(tmp_path / "young.tsv", **change), *words)
    assert sorted((path.name, path.stat().st_size) for path in resources.rglob("*")) == before
