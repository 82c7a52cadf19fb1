"""Printed facts of models: a damaged table is refused by its file, line and column."""

import shutil

import pytest

from offcourse.analysis.model_facts import read_facts
from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("16,384", "16,384x", r"table11\.tsv, line 2, column mlp_size: .*whole number.*'16,384x'"),
        ("16,384", "", r"table11\.tsv, line 2, column mlp_size: .*whole number.*''"),
        ("EleutherAI/gpt-j-6b", "EleutherAI/gpt-j-6bx", r"table11\.tsv, line 2, column Model Name: .*gpt-j-6bx"),
        ("n_heads", "n_head", r"table11\.tsv: the column 'n_head"),
    ],
)
def test_a_damaged_table_is_refused_by_name(tmp_path, old, new, said):
    shutil.copytree(RESOURCES / "paper", tmp_path / "paper")
    table = tmp_path / "paper" / "table11.tsv"
    table.write_text(table.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(OffcourseError, match=said):
        list(read_facts(Registry.load(), tmp_path))
