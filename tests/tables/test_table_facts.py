"""Tables 11 and 12: the same cells as the registry's, in the paper's form, checked again from `model.json`."""

import json
from dataclasses import asdict

import pandas as pd
import pytest
from views import write

from offcourse.analysis.cells import recompute
from offcourse.analysis.model_facts import COLUMNS, read_facts
from offcourse.data.printed import RESOURCES
from offcourse.data.registry import Registry
from offcourse.data.tsv import read_tsv
from offcourse.errors import OffcourseError
from offcourse.schemas.io import read_parquet
from offcourse.schemas.results import FACT_CELLS

REGISTRY = Registry.load(locked=False)
PRINTED = [row for row in REGISTRY.models.values() if row.paper_name]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The tables of every model that the paper's have."""
    folder = tmp_path_factory.mktemp("facts")
    for row in PRINTED:
        (folder / row.name).mkdir()
        (folder / row.name / "model.json").write_text(json.dumps(asdict(row)))
    write("tables_facts", folder, folder / "tables", models=[row.name for row in PRINTED], loaded=False)
    return folder


@pytest.mark.parametrize("number", [11, 12])
def test_the_form_is_the_paper_s(written, number):
    ours = pd.read_csv(written / "tables" / f"table{number}.csv", dtype=str, keep_default_na=False)
    printed = read_tsv(RESOURCES / "paper" / f"table{number}.tsv")
    assert list(ours.columns) == list(printed.columns)
    assert set(ours["Model Name"]) == {row.repo for row in PRINTED} and len(ours) == len(printed)


def test_every_cell_is_what_the_comparison_holds_against_the_printed_one(written):
    cells = {
        (number, cell.row, cell.column): cell
        for number in (11, 12)
        for cell in read_parquet(written / "tables" / f"table{number}.parquet", FACT_CELLS).itertuples()
    }
    known = {(fact.table, fact.model, fact.column): fact.value for fact in read_facts(REGISTRY)}
    assert cells.keys() == known.keys()
    for key, value in known.items():
        if isinstance(value, int):
            assert cells[key].value == value and cells[key].text == f"{value:,}"
        else:
            assert pd.isna(cells[key].value) and cells[key].text == (value or "-")
        assert recompute(written, cells[key]._asdict()) == cells[key].text


def test_a_changed_fact_is_found(written, tmp_path):
    row = read_parquet(written / "tables" / "table11.parquet", FACT_CELLS).set_index(["row", "column"])
    cell = row.loc[("gpt-j-6b", "total_heads")].to_dict()
    (tmp_path / "gpt-j-6b").mkdir()
    (tmp_path / "gpt-j-6b" / "model.json").write_text(json.dumps(asdict(REGISTRY.model("gpt-j-6b")) | {"heads": 8}))
    assert (cell["text"], recompute(tmp_path, cell)) == ("448", "224")


def test_a_model_that_is_no_hub_repository_goes_by_its_name(tmp_path):
    facts = {name: None for columns in COLUMNS.values() for name in columns.values()}
    facts |= {"source": "random", "repo": "Llama", "layers": 4, "heads": 4}
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "model.json").write_text(json.dumps(facts))
    write("tables_facts", tmp_path, tmp_path, models=["tiny"])
    line = (tmp_path / "table12.md").read_text().splitlines()[4]
    assert line == "| tiny | - | - | - | - |"


def test_a_model_without_facts_is_named(tmp_path):
    with pytest.raises(OffcourseError, match=r"tiny/model.json is not the record of a model"):
        write("tables_facts", tmp_path, tmp_path, models=["tiny"])
