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
        ({}, ["--group", "animals"], "the new row of tasks.tsv, column group: expected one of linguistic"),
        ({}, ["--match", "near"], "column task_vector_match"),
        ({"pairs": PAIRS[:8]}, [], "has 8 pairs; .* at least 20"),
        ({"pairs": [*PAIRS, PAIRS[3]]}, [], "'animal3' in column 'animal' was already on line 5"),
        ({"pairs": PAIRS[:19]}, [], r"first line \(animal, young\) is read as the names of the columns"),
        ({"header": ("a",), "pairs": [("b",)]}, [], r"has 1 column \(a\); expected two"),
        ({"header": ("a,b",), "pairs": [("c,d",)]}, [], "separated by tabs, not by commas"),
        ({"header": ("a", "a")}, [], "both columns are named 'a'"),
        ({"pairs": [(word, "same") for word, _ in PAIRS]}, [], "every answer is 'same'"),
        ({}, ["--label", "Antonym"], "the label 'Antonym' is the one of task 'antonym'"),
    ],
)
def test_what_is_refused(resources, tmp_path, change, words, message):
    before = sorted((path.name, path.stat().st_size) for path in resources.rglob("*"))
    with pytest.raises(OffcourseError, match=message):
        add(written(tmp_path / "young.tsv", **change), *words)
    assert sorted((path.name, path.stat().st_size) for path in resources.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.tsv", None, "there is no such file; expected a list of word pairs"),
        ("empty.tsv", "\n", "is empty; expected a list of word pairs"),
        ("ünï.tsv", "", "gives no name for the task.* with --name"),
        (".tsv", "", "gives no name for the task.* with --name"),
        ("_.tsv", "", "gives no name for the task.* with --name"),
    ],
)
def test_a_file_that_gives_no_task_is_refused(resources, tmp_path, name, content, message):
    path = tmp_path / name
    if content:
        path.write_text(content)
    elif content == "":
        written(path)
    with pytest.raises(OffcourseError, match=message):
        add(path)
    with pytest.raises(OffcourseError, match="is a folder"):
        add(tmp_path)
