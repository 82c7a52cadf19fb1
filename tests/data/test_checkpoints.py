"""Two checkpoints of one model: rows of one repo with a revision each, apart in every key, table and figure."""

import dataclasses
import json

import pandas as pd
import pytest
from views import draw, view_of, write

from offcourse.analysis.results import dola_path, lens_path
from offcourse.data.registry import Registry
from offcourse.figures import style
from offcourse.graph.keys import STEPS, rule_params
from offcourse.layout import Layout
from offcourse.methods.check_model import check_model
from offcourse.models.fetch import prepare
from offcourse.models.manifest import weights_digest
from offcourse.run.context import StepContext
from offcourse.run.job import run_step
from offcourse.schemas.io import read_parquet
from offcourse.schemas.results import CELLS
from offcourse.study.config import load_study

STAGES = ["early", "late"]


@pytest.fixture(scope="module")
def registry() -> Registry:
    """With two stages of one model of random weights: the same repo and facts, only the revision differs."""
    registry = Registry.load()
    tiny = registry.model("tiny-llama")
    rows = {
        name: dataclasses.replace(tiny, name=name, label=f"Tiny Llama, {name}", revision=str(seed))
        for seed, name in enumerate(STAGES, start=1)
    }
    return dataclasses.replace(registry, models=dict(registry.models) | rows)


@pytest.fixture(scope="module")
def study():
    small = {"limit": 3}
    return load_study(
        {
            "study": "stages",
            "models": STAGES,
            "tasks": ["antonym"],
            "methods": ["dola", "logit_lens"],
            "dola": small | {"alphas": [0.0, 0.1], "questions": ["misconceptions"]},
            "logit_lens": small,
        }
    )


@pytest.fixture(scope="module")
def layout(registry, study, tmp_path_factory) -> Layout:
    """The study after DoLa and the logit lens of both."""
    layout = Layout("stages", tmp_path_factory.mktemp("stages"))
    for name in STAGES:
        prepare(registry.model(name), registry, layout.model_folder(name), layout.downloads)
        check_model(StepContext(STEPS["icl"], study, registry, layout, name, 1), layout.results / name / "model.json")
        for step in ("dola", "logit_lens"):
            assert run_step(step, study, registry, layout, name, threads=1)  # computed, not the other one's shard
    return layout


def test_keys_and_rules_tell_them_apart(registry, study, layout):
    assert len({registry.model(name).repo for name in STAGES}) == 1
    assert len({weights_digest(layout.model_folder(name)) for name in STAGES}) == 2
    for step, unit in (("dola", "misconceptions"), ("logit_lens", "misconceptions-mc")):
        records = [json.loads(layout.record(step, name, unit).read_text()) for name in STAGES]
        assert records[0]["key"] != records[1]["key"]
        first, second = (record["parts"] for record in records)
        assert "weights" in {part for part in first if first[part] != second[part]}
        params = [rule_params(STEPS[step], study, registry, name) for name in STAGES]
        assert {key for key in params[0] if params[0][key] != params[1][key]} == {"model"}


def test_results_tables_and_the_page_of_figure_6_show_both(layout, monkeypatch):
    results = layout.results
    for path in (dola_path, lens_path):
        unit = "misconceptions" if path is dola_path else "misconceptions-mc"
        one, other = (pd.read_parquet(results / path(name, unit)) for name in STAGES)
        assert not one.equals(other)
    forms = [("misconceptions", "primer"), ("misconceptions-mc", "letters")]
    write("tables_dola", results, results / "tables", dola=(STAGES, ["misconceptions"]), forms=forms)
    for number in (1, 4, 6, 7):
        cells = read_parquet(results / "tables" / f"table{number}.parquet", CELLS)
        assert list(cells["row"].unique()) == [f"{name} (misconceptions)" for name in STAGES]
    kept, save = [], style.save
    monkeypatch.setattr(style, "save", lambda figure, *rest: (kept.append(figure), save(figure, *rest)))
    stem = results / "figures" / "figure2" / "misconceptions-mc"
    draw("figure2", results, stem, questions=stem.name, lens=(STAGES, [stem.name]), forms=forms)
    left, right = kept[0].axes
    assert [panel.get_title() for panel in (left, right)] == STAGES
    # Side by side.
    assert left.get_position().x1 < right.get_position().x0 and left.get_position().y0 == right.get_position().y0
    drawn = pd.read_parquet(results / "figures" / "figure2" / "misconceptions-mc.parquet")
    assert list(drawn["model"].unique()) == STAGES


def test_rows_with_one_label_are_told_apart_by_name(tmp_path):
    for name, label in (("a", "OLMo 7B"), ("b", "OLMo 7B"), ("c", "Pythia 6.9B")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(json.dumps({"label": label}))
    view = view_of("figure_lens", tmp_path, lens=(["a", "b", "c"], []))
    assert view.model_labels(["a", "b", "c"]) == ["OLMo 7B (a)", "OLMo 7B (b)", "Pythia 6.9B"]
    assert view.model_labels(["b", "c"]) == ["OLMo 7B", "Pythia 6.9B"]
