"""The comparison of printed, released and own numbers: its verdicts, its cells from the real release, its refusals."""

import json

import numpy as np
import pandas as pd
import pytest

from offcourse.analysis import comparison, model_facts
from offcourse.analysis.comparison import CANNOT, DIFFERENT, EQUAL, ROUNDING
from offcourse.archive.digitise import Line, first_page
from offcourse.data.names import RESOURCES
from offcourse.data.printed import NUMBERS, read_printed
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.figures import heads
from offcourse.files import write_whole
from offcourse.graph.products import PRODUCTS
from offcourse.graph.release import models_of, results_of_release, tasks_of, write_models
from offcourse.published import packed
from offcourse.published.pages import write_comparison
from offcourse.run.products import make
from offcourse.schemas.io import write_parquet
from offcourse.schemas.results import CELLS, as_cells

FIGURE_5 = "figures/activation_patching/head_tasks_instr.pdf"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(0.23746, EQUAL), (0.2375, EQUAL), (0.23744, ROUNDING), (0.2377, DIFFERENT), (float("nan"), CANNOT)],
)
def test_a_verdict_goes_by_the_printed_digits(value, wanted):
    assert comparison.verdict(0.2375, 0.00005, value) == wanted


def made_up(folder, change=None):
    """Tables that hold exactly what is printed, but for the changed cells and those that are quoted."""
    for number in NUMBERS:
        printed = read_printed(number)
        printed = printed[~printed["row"].str.contains("*", regex=False)]
        rows = [
            (
                cell.row,
                cell.column,
                (change or {}).get((number, cell.row, cell.column), cell.value),
                1,
                None,
                None,
                "",
                "",
            )
            for cell in printed.itertuples()
        ]
        write_parquet(folder / "tables" / f"table{number}.parquet", as_cells(rows), CELLS)
    return folder


def test_every_printed_cell_is_there_once_and_what_differs_is_listed_with_its_reason(tmp_path):
    changed = {
        (7, "qwen2-7b (truthfulqa)", "MC1 base"): 0.3929,  # a known cause
        (6, "llama-7b (truthfulqa)", "MC1 alpha 0"): 0.5,  # none
    }
    frame = comparison.comparison(made_up(tmp_path / "release", changed))
    assert list(frame.columns) == [
        "table", "row", "column", "printed", "printed_value", "release", "ours", "verdict", "reason", "ours_why"
    ]  # fmt: skip
    cells = sum(len(read_printed(number)) for number in NUMBERS)
    assert (frame["table"].isin([f"table{number}" for number in NUMBERS])).sum() == cells
    differ = frame[frame["verdict"].eq(DIFFERENT) & ~frame["table"].isin(["table11", "table12"])].set_index("table")
    assert sorted(differ.index) == ["table6", "table7"]
    assert differ.loc["table6", "reason"] == "" and "copied by mistake" in differ.loc["table7", "reason"]
    quoted = frame[frame["verdict"].eq(CANNOT)]
    assert len(quoted) and quoted["row"].str.contains("*", regex=False).all() and quoted["reason"].ne("").all()
    counted = comparison.counts(frame)
    assert counted.loc["table6", DIFFERENT] == 1 and counted["cells"].sum() == len(frame)


def test_ours_is_there_where_the_study_has_the_model(tmp_path):
    release, study = made_up(tmp_path / "release"), tmp_path / "study"
    cell = ("llama-7b (truthfulqa)", "MC1 alpha 0")
    write_parquet(study / "tables" / "table6.parquet", as_cells([(*cell, 0.25, 1, None, None, "", "")]), CELLS)
    (study / "gpt-j-6b").mkdir()
    (study / "gpt-j-6b" / "model.json").write_text(json.dumps({"layers": 28, "heads": 16, "norm": "LayerNorm"}))
    frame = comparison.comparison(release, study).set_index(["table", "row", "column"])
    assert frame.loc[("table6", *cell), "ours"] == 0.25
    assert frame.loc[("table11", "gpt-j-6b", "total_heads"), "ours"] == 448
    assert frame["ours"].notna().sum() == 4  # and layers, heads
    # Where the study has no number, the cell says what it lacks.
    why = frame["ours_why"]
    assert (why[frame["ours"].isna() & (frame.index.get_level_values(0) == "table6")] != "").all()
    assert why[("table6", *cell)] == why[("table11", "gpt-j-6b", "n_layers")] == ""
    assert why[("table6", cell[0], "MC1 alpha 0.9")] == "no MC1 alpha 0.9"
    assert why[("table6", "llama-2-70b (truthfulqa)", "MC1 alpha 0")] == "no llama-2-70b"
    assert why[("table3", "TV", "0.90")] == "no table3"
    assert why[("table12", "llama-7b", "n_tokens")] == "no llama-7b"


def test_facts_that_differ_name_the_model_s_own(tmp_path):
    frame = comparison.of_table(comparison.comparison(made_up(tmp_path)), "table11").set_index(["row", "column"])
    cell = frame.loc[("qwen2-7b-instruct", "mlp_size")]
    assert (cell["printed"], cell["release"], cell["verdict"]) == ("29,568", 18944, DIFFERENT)
    assert "18944" in cell["reason"]


def test_every_reason_is_about_a_printed_cell():
    known = {(f"table{n}", *key) for n in NUMBERS for key in zip(*(read_printed(n)[k] for k in ("row", "column")))}  # noqa: B905
    known |= {
        (f"table{fact.table}", fact.model, fact.column) for fact in model_facts.read_facts(Registry.load(locked=False))
    }
    assert set(comparison._reasons(RESOURCES / "paper" / "reasons.tsv")) <= known


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(OffcourseError, match=f"Run `snakemake published --cores all --directory {tmp_path}`"):
        comparison.comparison(tmp_path / "results" / "published")
    with pytest.raises(OffcourseError, match="did you mean 'table3'"):
        comparison.of_table(pd.DataFrame(), "tabel3")


@pytest.fixture(scope="module")
def converted(release):
    """The release's vectors, from the numbers that travel with the repository."""
    for group in ("function_vectors", "task_vectors"):
        for name in release.names(group):
            for made in packed.tables(release, group, name):
                path = release.layout.artefact(made.step, ".parquet", release.folder(name), made.unit)
                made.frame.pipe(lambda frame, path=path: write_whole(path, frame.to_parquet))
    write_models(release)
    return release


def test_table_3_of_the_release_is_the_printed_one_but_for_one_cell(converted):
    """The table is made by the code that makes a study's Table 3."""
    make(PRODUCTS["table3"], results_of_release(converted))
    results = converted.layout.results
    made = made_up(results / "others")
    (made / "tables" / "table3.parquet").write_bytes((results / "tables" / "table3.parquet").read_bytes())
    table = comparison.of_table(comparison.comparison(made), "table3")
    differ = table[table["verdict"] != EQUAL]
    assert differ[["row", "column"]].to_numpy().tolist() == [["FV search", "1.00"]]
    assert differ["release"].iloc[0] == pytest.approx(100 * 94 / 324) and "Gemma-2 27B" in differ["reason"].iloc[0]


def test_figure_5_of_the_release_is_the_papers(converted):
    """The lines of the paper's own drawing, whose two panels have a scale each, are ours to 1e-5."""
    models, tasks = (of(converted, "function_vectors") for of in (models_of, tasks_of))
    registry = converted.registry
    groups = {task.name: task.group for task in registry.tasks.values()}
    pairs = registry.post_training(models)
    ours = heads.numbers(converted.layout.results, models, tasks, groups, pairs)
    drawn, _ = first_page(converted.read(FIGURE_5), FIGURE_5)
    lines = [item.points for item in drawn if isinstance(item, Line) and len(item.points) == 8 and item.operator == "S"]
    assert len(lines) == 4
    panels = lines[:3], lines[3:]
    for names, panel in zip((list(heads.GROUPS), [heads.CHANGE]), panels, strict=True):
        values = np.concatenate([ours.loc[ours["group"] == name, "recovery"] for name in names])
        heights = np.concatenate([line[:, 1] for line in panel])
        scale = np.polyfit(values, heights, 1)
        assert scale[0] > 0 and (heights - scale[1]) / scale[0] == pytest.approx(values, abs=1e-5)


def test_the_comparison_is_written_whole(tmp_path):
    write_comparison(made_up(tmp_path / "published"), None)
    frame = pd.read_parquet(tmp_path / "published" / "comparison.parquet")
    assert len(frame) == len(pd.read_csv(tmp_path / "published" / "comparison.csv"))
    assert list(frame.columns) == list(comparison.COMPARISON.columns)
