"""The map of the package in README.md and docs/design.md is the tree, and the tests are where the map says."""

import re
from pathlib import Path

import pytest
from lab import CHECKOUT
from test_layers import LAYERS

# Folders of tests that are about no single package.
WHOLE = {"workflow", "slurm", "architectures", "mutations", "torture", "forking"}
# Test files that import nothing of their package, and how they reach it.
FROM_OUTSIDE = {
    "adding/test_add_model.py": "runs `offcourse add-model`",
    "audit/test_status.py": "runs `offcourse status`",
    "methods/test_function_vector_steps.py": "runs the steps by name",
    "tables/test_certainty.py": "is handed the table's code by its declaration",
    "tables/test_table_facts.py": "is handed the table's code by its declaration",
    "report/test_report_page.py": "opens the page in a browser",
}


def block(page: str) -> list[str]:
    """The lines of the map, highest layer first."""
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    [found] = re.findall(r"```text\n(cli .*?)```", text, re.DOTALL)
    return found.splitlines()


@pytest.mark.parametrize("page", ["README.md", "docs/design.md"])
def test_the_map_names_every_layer_and_nothing_else(page):
    named = [re.split(r" {2,}", line)[0].split(" | ") for line in block(page)]
    assert [set(names) for names in reversed(named)] == [set(names) for names in LAYERS if names != ["__main__"]]


def test_both_pages_have_the_same_map():
    assert block("README.md") == block("docs/design.md")


def files_by_folder() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted((CHECKOUT / "tests").rglob("test_*.py")):
        found.setdefault(path.parent.name, []).append(path)
    return found


def test_every_folder_of_tests_is_a_package_and_every_package_has_one():
    packages = {path.parent.name for path in (CHECKOUT / "src/offcourse").glob("*/__init__.py")}
    assert set(files_by_folder()) - {"tests"} - WHOLE == packages


def test_a_file_of_tests_is_in_the_folder_of_what_it_tests():
    wrong = [
        path
        for folder, paths in files_by_folder().items()
        if folder not in {"tests", *WHOLE}
        for path in paths
        if f"offcourse.{folder}" not in path.read_text(encoding="utf-8")
    ]
    assert {path.relative_to(CHECKOUT / "tests").as_posix() for path in wrong} == set(FROM_OUTSIDE)
