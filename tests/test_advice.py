"""What messages advise exists: commands parse, and options, keys, columns, variables and files are there.

Tests that follow an advice are beside those of the code that gives it (`grep -rn advice tests`).
"""

import ast
import dataclasses
import os
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest
import typer
import yaml
from lab import CHECKOUT
from snakemake.cli import get_argument_parser

from offcourse.cli import app
from offcourse.data import rows
from offcourse.data.registry import Registry
from offcourse.plan.compute_site import SITE
from offcourse.study.config import Study, load_study

PROGRAMS = ("make", "offcourse", "snakemake", "pip", "python", "hf", "sinfo", "module", "git")
# Stands for a part that the message fills in.
FILLED = "FILLED"
# Options that messages name without their command, of Snakemake and of Slurm.
OTHERS_OPTIONS = {"--gres"}


def text_of(node: ast.AST) -> str | None:
    """The text of a literal, whose filled-in parts are `FILLED`; None for another node."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else FILLED for part in node.values)
    return None


def literals(path: Path) -> list[str]:
    """The texts of a module that are no docstring and no part of another text."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    inner |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)} - {
        id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
    }
    return [text for node in ast.walk(tree) if id(node) not in inner and (text := text_of(node)) and " " in text]


@cache
def messages() -> list[tuple[str, str]]:
    """(file, text) of every text of more than a word in the package, the rules' messages and the Makefile's error."""
    found = [
        (path.relative_to(CHECKOUT).as_posix(), text)
        for path in sorted((CHECKOUT / "src").rglob("*.py"))
        for text in literals(path)
    ]
    for path in sorted((CHECKOUT / "rules").glob("*.smk")):
        content = path.read_text(encoding="utf-8")
        for said in re.findall(r"sys\.exit\(\n?(.*?)\n?\s*\)\n", content, re.S):
            found.append((f"rules/{path.name}", re.sub(r"\{[^}]*\}", FILLED, "".join(re.findall(r'"([^"]*)"', said)))))
    found += [("Makefile", said) for said in re.findall(r"\$\(error (.*)\)", (CHECKOUT / "Makefile").read_text())]
    return found


def commands() -> list[tuple[str, str]]:
    """(file, command) of every command between backticks."""
    return [
        (path, command)
        for path, text in messages()
        for command in re.findall(r"`([^`]+)`", text)
        if command.split()[0] in PROGRAMS and " " in command
    ]


def verbs() -> dict[str, set[str]]:
    """{verb of `offcourse`: its options}; a group of verbs, as `share`, has those of all its verbs."""
    group, found = typer.main.get_command(app), {}
    for name, verb in group.commands.items():
        own = [verb, *getattr(verb, "commands", {}).values()]
        found[name] = {option for each in own for given in each.params for option in given.opts}
    return found


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):.*##", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.M))


def test_there_are_messages_and_commands():
    assert len(messages()) > 1000 and len(commands()) >= 10


@pytest.mark.parametrize(("path", "command"), [pair for pair in commands() if pair[1].startswith("offcourse ")])
def test_a_verb_of_a_message_has_its_options(path, command):
    _, verb, *more = shlex.split(command.replace(FILLED, " "))
    assert verb in verbs(), path
    assert {word for word in more if word.startswith("--")} <= verbs()[verb], path


@pytest.mark.parametrize(("path", "command"), [pair for pair in commands() if pair[1].startswith("snakemake ")])
def test_a_snakemake_command_of_a_message_is_complete(path, command):
    """It parses, it says how many cores, and its rule exists; a target with a folder is a file of results."""
    asked, _ = get_argument_parser().parse_known_args(shlex.split(command.replace(FILLED, "folder"))[1:])
    assert asked.cores, path
    rules = "".join(each.read_text(encoding="utf-8") for each in (CHECKOUT / "rules").glob("*.smk"))
    named = [target for target in asked.targets if not target.startswith("results/")]
    assert asked.targets and all(f"rule {target}:" in rules for target in named), path


@pytest.mark.parametrize(("path", "command"), [pair for pair in commands() if pair[1].startswith("make ")])
def test_a_target_of_a_message_exists(path, command):
    done = subprocess.run([*shlex.split(command), "--dry-run"], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, f"{path}: {command}: {done.stderr}"


def test_the_example_of_a_study_that_is_not_there_works():
    def planned(*words):
        return subprocess.run(["make", "--dry-run", *words], cwd=CHECKOUT, capture_output=True, text=True)

    refused = planned("CONFIG=studies/nothing.yaml")
    assert refused.returncode != 0
    example = re.search(r"as in make (\S+)\. Nothing was installed or run", refused.stderr)[1]
    assert planned(example).returncode == 0


@pytest.mark.parametrize(
    ("path", "command"), [pair for pair in commands() if pair[1].split()[0] in ("pip", "python", "hf", "git")]
)
def test_another_program_has_the_words_of_a_message(path, command):
    words = shlex.split(command.replace(FILLED, str(CHECKOUT)))
    if "install" in words:
        if "-r" in words:
            assert (CHECKOUT / words[words.index("-r") + 1]).is_file()
        return
    done = subprocess.run(
        [*words, "--help"], cwd=CHECKOUT, capture_output=True, text=True, env=os.environ | own_programs()
    )
    assert done.returncode == 0, f"{path}: {command}: {done.stderr}"


def own_programs() -> dict[str, str]:
    return {"PATH": os.pathsep.join((str(CHECKOUT / ".venv/bin"), os.environ["PATH"]))}


def test_no_command_of_an_advice_is_without_backticks():
    """Without them nobody can see where a command ends; the last lines of `make` have a line for each."""
    command = re.compile(
        rf"\b([Rr]un|with|[Uu]se) (make ({'|'.join(make_targets())})|offcourse ({'|'.join(verbs())})|snakemake \w)"
    )
    assert [(path, text) for path, text in messages() if command.search(text)] == []


def test_every_option_of_a_message_exists():
    known = {option for options in verbs().values() for option in options} | OTHERS_OPTIONS | {"--help"}
    known |= {option for action in get_argument_parser()._actions for option in action.option_strings}
    installing = {"--no-deps", "--editable", "--quiet", "--dest"}
    wrong = [
        (path, option)
        for path, text in messages()
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text)
        if option not in known | installing
        and not path.startswith(("src/offcourse/cluster", "src/offcourse/check_gpu"))
    ]
    assert wrong == []


def test_every_key_of_a_message_is_in_the_configuration():
    sections = {
        name: set(kind.model_fields)
        for name, field in Study.model_fields.items()
        if hasattr(kind := field.annotation, "model_fields")
    }
    sections["resources"] = set(SITE)
    key = re.compile(rf"(?<![\w./])({'|'.join(sections)})\.([a-z_]+)(?![\w./])")
    found = [(path, *match) for path, text in messages() for match in key.findall(text)]
    assert len(found) > 20
    assert [each for each in found if each[2] not in sections[each[1]] | {"py", "tsv", "key", "data"}] == []


def test_every_setting_of_a_message_is_accepted():
    least = {"study": "advice", "models": ["tiny-llama"], "tasks": ["antonym"]}
    settings = [
        (path, said)
        for path, text in messages()
        for said in re.findall(
            r"`([a-z_]+: \{[a-z_]+: [a-z_]+\})`|\b((?:data|selection|factor_shots): [a-z0-9_]+)\b", text
        )
    ]
    assert settings
    for path, said in settings:
        setting = yaml.safe_load("".join(said))
        if {"selection", "factor_shots"} & setting.keys():
            setting = {"protocol": setting}
        assert load_study(least | setting), path


def test_every_column_of_a_message_is_in_its_table():
    """`column` ... of resources/TABLE.tsv."""
    columns = {
        "models.tsv": {field.name for field in dataclasses.fields(rows.Model)},
        "sources.tsv": {field.name for field in dataclasses.fields(rows.Source)},
        "questions.tsv": {field.name for field in dataclasses.fields(rows.QuestionSet)},
        "tasks.tsv": {field.name for field in dataclasses.fields(rows.Task)},
    }
    found = [
        (path, column, table)
        for path, text in messages()
        for column, table in re.findall(
            r"`([a-z_]+)`(?: column)?(?: of the set)?(?: of| in)?(?: resources/| )(\w+\.tsv)", text
        )
    ]
    assert len(found) >= 4
    assert [each for each in found if each[1] not in columns[each[2]]] == []
    assert Registry.load(locked=False).models


def test_every_variable_of_a_message_is_read():
    own = {
        name
        for path in (CHECKOUT / "src").rglob("*.py")
        for name in re.findall(r"environ[^\n]*\"(OFFCOURSE_\w+)\"", path.read_text(encoding="utf-8"))
    }
    named = {name for _, text in messages() for name in re.findall(r"\bOFFCOURSE_[A-Z]+\b", text)}
    assert named and named <= own


def test_every_file_of_a_message_is_in_the_checkout():
    kept = re.compile(r"(?<![\w./-])((?:resources|src/offcourse|docs|studies|profiles)/[\w./-]+\.(?:tsv|py|md|yaml))\b")
    found = {name for _, text in messages() for name in kept.findall(text) if FILLED not in name}
    assert len(found) > 5
    assert [name for name in sorted(found) if not (CHECKOUT / name).is_file()] == []
