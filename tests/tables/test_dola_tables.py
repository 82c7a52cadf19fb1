"""Tables 1, 2, 4 to 10 and Figures 2 and 8 from made-up scores: the numbers are those of their definitions."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_dola import MODELS, SETS, SETTINGS, best_setting, cells_of, hits
from views import draw, view_of, write

from offcourse.figures import apathy
from offcourse.graph import catalogue
from offcourse.report import page
from offcourse.schemas.io import read_parquet, write_parquet
from offcourse.schemas.questions import APATHY, DOLA, LOGIT_LENS
from offcourse.schemas.results import CELLS
from offcourse.study.config import load_study
from offcourse.tables import dola, writing
from offcourse.tables.writing import FEW


def printed(folder, number: int) -> pd.DataFrame:
    return pd.read_csv(folder / f"table{number}.csv", index_col="Model", dtype=str)


def test_a_table_without_a_model_says_why_it_is_empty(dola_results, tmp_path):
    write("tables_dola", dola_results, tmp_path, dola=(["little-1b"], ["asked"]), forms=SETS)
    for number, why in (
        (5, "no model above 27B parameters with a set of questions"),
        (2, "no model with a set of texts to be continued"),
    ):
        assert read_parquet(tmp_path / f"table{number}.parquet", CELLS).empty
        assert f"- Empty: this study has {why}." in (tmp_path / f"table{number}.md").read_text()
    assert not read_parquet(tmp_path / "table4.parquet", CELLS).empty


@pytest.mark.parametrize("number", dola.CAPTIONS)
def test_every_table_is_written_in_every_form(dola_tables, number):
    for suffix in writing.SUFFIXES:
        assert (dola_tables / "tables" / f"table{number}.{suffix}").stat().st_size > 0
    cells = read_parquet(dola_tables / "tables" / f"table{number}.parquet", CELLS)
    models = {4: ["little-1b", "gemma-27b"], 8: ["little-1b", "gemma-27b"], 5: ["great-70b"], 9: ["great-70b"]}
    models = models.get(number, list(MODELS))
    assert {row.split(" ")[0] for row in cells["row"]} == set(models)
    assert set(cells["n"]) == {30}


def test_every_number_over_questions_has_an_interval(dola_results, dola_ties):
    out, _ = dola_ties
    for number in (1, 2, 4, 7):
        cells = read_parquet(out / f"table{number}.parquet", CELLS)
        mine = cells[cells["unit"].str.contains("questions")]
        assert (mine["ci_low"] <= mine["value"]).all() and (mine["value"] <= mine["ci_high"]).all(), number
    cells = cells_of(out, 1)
    for model in MODELS:
        frame = pd.read_parquet(dola_results / model / "dola" / "asked.parquet")
        values = [mc2_of(mine) for _, mine in frame[frame["variant"] == "base"].groupby("question")]
        random = np.random.default_rng(0)
        means = [random.choice(values, len(values)).mean() for _ in range(4000)]
        found = cells.loc[(f"{model} (asked)", "MC2 base"), ["ci_low", "ci_high"]].astype(float)
        assert list(found) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.01)


def mc2_of(answers: pd.DataFrame) -> float:
    weights = np.exp(answers["score"] - answers["score"].max())
    return weights[answers["kind"] != "false"].sum() / weights.sum()


@pytest.mark.parametrize("number", dola.CAPTIONS)
def test_both_tie_rules_ties_and_masked_answers_are_in_the_artefact(dola_results, dola_ties, number):
    out, shared = dola_ties
    cells, form = cells_of(out, number), printed(out, number)
    name = "told" if number in (2, 8, 9, 10) else "asked"
    scale = 100 if number == 2 else 1
    metrics = [column for column in form if column.startswith(("MC1 ", "MC3 ", "accuracy "))]
    assert metrics
    for row in form.index:
        for column in metrics:
            assert (row, f"{column}, ties {'as coded' if shared else 'shared'}") in cells.index
            setting = column.split(" ", 1)[1]
            assert 0 <= cells.loc[(row, f"ties {setting}"), "value"] <= scale
            assert ((row, f"masked best answers {setting}") in cells.index) == (not setting.startswith("base"))
    # One of them by hand.
    if number in (1, 2):
        frame = read_parquet(dola_results / "little-1b" / "dola" / f"{name}.parquet", DOLA)
        base = frame[frame["variant"] == "base"]
        tied = [
            question.loc[question["kind"] == "best", "score"].item()
            == question.loc[question["kind"] == "false", "score"].max()
            for _, question in base.groupby("question")
        ]
        assert cells.loc[(f"little-1b ({name})", "ties base"), "value"] == pytest.approx(scale * np.mean(tied))
    assert not [column for column in form if ", ties" in column]
    assert any(column.startswith("ties") for column in form) == (number in (1, 2))


@pytest.mark.parametrize("number", [1, 2, *range(4, 11)])
def test_numbers_have_the_papers_digits_where_there_are_items_for_them(dola_tables, number):
    """Two for Table 1, whole percent for Table 2 (the paper's only table in percent); elsewhere two of a few items."""
    form = printed(dola_tables / "tables", number)
    cells = cells_of(dola_tables / "tables", number)
    assert (cells["n"] < FEW).all()
    for column in form:
        if column.startswith(("MC", "accuracy")):
            wanted = r"\d+" if number == 2 else r"\d\.\d{2}"
            assert all(re.fullmatch(wanted, text) for text in form[column]), column
            assert set(cells.xs(column, level="column")["unit"]) == {f"{'%' if number == 2 else 'share'} of questions"}


@pytest.mark.parametrize(("number", "digits"), [(1, 2), (2, 0), (4, 4), (7, 4), (10, 4)])
def test_of_many_items_numbers_have_the_papers_digits(number, digits):
    share = "%" if number == 2 else "share"
    for items, shown in ((FEW - 1, min(2, digits)), (FEW, digits)):
        cell = SimpleNamespace(unit=f"{share} of questions", value=0.123456, n=items)
        assert dola._text(number, cell) == f"{0.123456:.{shown}f}"


def test_the_best_alpha_and_bucket_have_columns(dola_tables):
    form, cells = printed(dola_tables / "tables", 7), cells_of(dola_tables / "tables", 7)
    for model in MODELS:
        row = f"{model} (asked)"
        scores = {setting: hits(dola_tables, model, "asked", setting) for setting in SETTINGS}
        bucket, alpha, _ = best_setting(scores, range(30))
        assert (form.loc[row, "best alpha"], form.loc[row, "best bucket"]) == (f"{alpha:g}", f"{bucket}%")
        assert cells.loc[(row, "best alpha"), ["value", "unit"]].tolist() == [alpha, "alpha"]
        ends = [cells.loc[(row, f"best bucket {end}"), "value"] for end in ("from", "to")]
        assert "-".join(f"{end:.0f}" for end in ends) == bucket
    for number in (6, 10):
        assert set(printed(dola_tables / "tables", number)["best bucket"]) <= {"0-50%", "50-100%"}


def test_the_premature_layers_are_told_in_the_notes(dola_tables):
    said = "premature layer chosen most often: 0-50 % layer 0 (75% of tokens); 50-100 % layer 8 (60% of tokens)."
    for number, row in ((4, "gemma-27b (asked)"), (5, "great-70b (asked)"), (8, "little-1b (told)")):
        assert f"- {row}, {said}" in (dola_tables / "tables" / f"table{number}.md").read_text()


def test_score_dtype_says_how_mc2_is_computed(dola_results, tmp_path):
    """`exact`: a score that overflows is a certain answer and not an undefined share."""
    frame = read_parquet(dola_results / "little-1b" / "dola" / "asked.parquet", DOLA)
    attrs = frame.attrs
    frame.loc[frame["kind"] == "best", "score"] = 800.0
    frame.attrs = attrs
    write_parquet(tmp_path / "m" / "dola" / "asked.parquet", frame, DOLA)
    (tmp_path / "m" / "model.json").write_text((dola_results / "little-1b" / "model.json").read_text())
    for exact, expected in ((False, 0.0), (True, 1.0)):
        dtype = "float64" if exact else "model"
        write("tables_dola", tmp_path, tmp_path / "tables", dola=(["m"], ["asked"]), forms=SETS, score_dtype=dtype)
        assert cells_of(tmp_path / "tables", 1).loc[("m (asked)", "MC2 base"), "value"] == expected


def test_figures_draw_the_means(dola_results):
    lens = {"questions": "letters", "lens": (list(MODELS), ["letters"])}
    draw("figure2", dola_results, dola_results / "figures" / "figure2" / "letters", **lens)
    draw("figure8", dola_results, dola_results / "figures" / "figure8" / "letters", **lens)
    lens = read_parquet(dola_results / "little-1b" / "logit_lens" / "letters.parquet", LOGIT_LENS)
    drawn = pd.read_parquet(dola_results / "figures" / "figure2" / "letters.parquet")
    drawn = drawn.set_index(["model", "line", "layer"])
    assert drawn.loc[("little-1b", "correct", 3), "mean"] == pytest.approx(lens[lens["layer"] == 3]["correct"].mean())
    scaled = pd.read_parquet(dola_results / "figures" / "figure8" / "letters.parquet")
    for _, mine in scaled.groupby("model"):
        both = mine[mine["line"] != "top"]["scaled"]
        assert (both.min(), both.max()) == (0, 1)


def test_the_top_probability_is_scaled_over_all_questions_and_layers(dola_results, tmp_path):
    """The last layer, the model's output, is one of them; its probabilities are the largest of a real model."""
    for folder, name in (("logit_lens", LOGIT_LENS), ("apathy", APATHY)):
        frame = read_parquet(dola_results / "little-1b" / folder / "letters.parquet", name)
        if folder == "logit_lens":
            frame["top"] = frame["top"] / 2 + 0.5 * (frame["layer"] == 12).astype("float32")
            lens = frame
        write_parquet(tmp_path / "m" / folder / "letters.parquet", frame, name)
    drawn = apathy.numbers(tmp_path, ["m"], "letters").set_index(["line", "layer"])["scaled"]
    least, most = lens["top"].min(), lens["top"].max()
    assert most > 0.9 and drawn["top"].index.tolist() == list(range(13))
    for layer in range(13):
        scaled = [(top - least) / (most - least) for top in lens.loc[lens["layer"] == layer, "top"]]
        assert drawn["top", layer] == pytest.approx(np.mean(scaled), abs=1e-5)


def test_contents_follow_the_methods():
    tables = [table["id"] for table in catalogue.tables(["dola", "function_vectors"])]
    assert tables == [f"table{number}" for number in range(1, 13)]
    pictures = catalogue.figures(["a"], ["antonym"], ["logit_lens"], ["letters"])
    assert [picture["id"] for picture in pictures] == ["figure1", "figure2/letters", "figure8/letters"]


def test_the_report_shows_every_table_with_intervals_in_its_unit(dola_tables, tmp_path):
    study = {"study": "made", "models": list(MODELS), "tasks": ["antonym"], "methods": ["dola"]}
    study = load_study(study).model_dump(mode="json")
    shown = [table for table in catalogue.tables(["dola"]) if (dola_tables / table["parquet"]).exists()]
    assert [table["id"] for table in shown] == [f"table{number}" for number in (1, 2, *range(4, 11))]
    view = view_of("report", dola_tables, dola=(list(MODELS), ["asked", "told"]))
    page.write(view, study, [], shown, [], tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    for number, interval in ((1, r"0\.\d{2}–0\.\d{2}"), (2, r"\d+–\d+%"), (10, r"0\.\d{2}–0\.\d{2}")):
        section = html.split(f'<section id="table{number}">')[1].split("</section>")[0]
        cells = cells_of(dola_tables / "tables", number)
        shown = pd.read_csv(dola_tables / "tables" / f"table{number}.csv").columns
        known = cells["ci_low"].notna() & cells.index.get_level_values("column").isin(shown)
        assert len(re.findall(f"<small>{interval}</small>", section)) == known.sum() > 0
