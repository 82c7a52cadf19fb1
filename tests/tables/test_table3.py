import io
import itertools
import json
import math
from math import isnan, sqrt

import pandas as pd
import pytest
from views import write

from offcourse.analysis.cells import recompute
from offcourse.data.draws import keyed_generator
from offcourse.errors import OffcourseError
from offcourse.schemas.io import read_parquet
from offcourse.schemas.results import CELLS
from offcourse.tables import table3

MODELS = ["tiny-0.1b", "middle-27b", "huge-70b"]
TASKS = ["antonym", "country-capital", "english-french", "present-past"]
LAYERS = {"tiny-0.1b": 6, "middle-27b": 8, "huge-70b": 10}


def wilson(count: int, n: int) -> tuple[float, float]:
    z, p = 1.959963984540054, count / n
    middle, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return 100 * (middle - half) / (1 + z * z / n), 100 * (middle + half) / (1 + z * z / n)


def cells_of(out) -> dict:
    return {(cell.row, cell.column): cell for cell in read_parquet(out / "table3.parquet", CELLS).itertuples()}


@pytest.mark.parametrize(
    ("default_heads", "small", "large"), [("maximum", (2, 16, 32), (2, 64)), ("single", (16,), (64,))]
)
def test_every_cell_against_counting_by_hand(study, share, tmp_path, default_heads, small, large):
    write("table3", study, tmp_path, fv=(MODELS, TASKS[:2]), default_heads=default_heads)
    got = cells_of(tmp_path)
    best = {}
    for model in MODELS:
        for task in TASKS[:2]:
            accuracy = {
                (n_heads, strength): max(
                    share(study, f"{model}/fv_sweep/{task}.parquet", n_heads=n_heads, strength=strength, layer=layer)
                    for layer in range(LAYERS[model])
                )
                for n_heads in (2, 16, 64)
                for strength in (1.0, 4.0, 16.0)
            }
            # 27.2 billion parameters are a "27B" model, which has the small models' default.
            heads = large if model == "huge-70b" else small
            few_shot = share(study, f"{model}/icl/{task}.parquet", shots=5)
            default = max(
                value for (n_heads, strength), value in accuracy.items() if n_heads in heads and strength == 1
            )
            best[model, task] = {"FV search": max(accuracy.values()), "FV default": default, "few": few_shot}
    for method in ("FV default", "FV search"):
        for quantile in (0.5, 0.75, 0.9, 1.0):
            count = sum(pair[method] >= quantile * pair["few"] - 1e-9 for pair in best.values())
            cell, counted = got[method, f"{quantile:.2f}"], got[f"{method} (count)", f"{quantile:.2f}"]
            assert (cell.value, cell.n, cell.unit) == (pytest.approx(100 * count / 6), 6, "% of model-task pairs")
            met = {at: pair[method] >= quantile * pair["few"] - 1e-9 for at, pair in best.items()}
            assert (cell.ci_low, cell.ci_high) == pytest.approx(wider(met, wilson(count, 6)), abs=1e-4)
            assert (counted.value, counted.n, counted.unit) == (count, 6, "pairs")
            assert isnan(counted.ci_low)
            assert isnan(counted.ci_high)
    assert len(got) == 16


def wider(met: dict, alone: tuple[float, float]) -> tuple[float, float]:
    """The wider ends of Wilson's interval and of drawing models and tasks: all draws, each as probable as any other."""
    models, tasks = (sorted({at[axis] for at in met}) for axis in (0, 1))
    shares = sorted(
        100 * sum(met[model, task] for model in drawn for task in asked) / len(met)
        for drawn in itertools.product(models, repeat=len(models))
        for asked in itertools.product(tasks, repeat=len(tasks))
    )
    ends = shares[math.ceil(0.025 * len(shares)) - 1], shares[math.ceil(0.975 * len(shares)) - 1]
    return min(ends[0], alone[0]), max(ends[1], alone[1])


def best_on_the_other_half(results, model: str, task: str, wanted) -> float:
    """Mean hit of every item, in the setting and layer that is best on the half that the item is not in."""
    sweep = pd.read_parquet(results / model / "fv_sweep" / f"{task}.parquet")
    hits: dict[tuple, dict[int, bool]] = {}
    for row in sweep.sort_values(["n_heads", "strength", "layer"]).itertuples():
        if wanted(row):
            hits.setdefault((row.n_heads, row.strength, row.layer), {})[row.item] = row.hit
    items, found = sorted(sweep["item"].unique()), []
    for halving in range(20):
        place = keyed_generator(0, task, "halving", halving).permutation(len(items))
        for first in (True, False):
            here = [item for item, at in zip(items, place, strict=True) if (at < len(items) // 2) == first]
            there = [item for item in items if item not in here]
            best = max(hits, key=lambda key: sum(hits[key][item] for item in here))
            found += [hits[best][item] for item in there]
    return sum(found) / len(found)


def test_with_halves_a_setting_is_reported_on_items_that_it_was_not_chosen_on(study, share, tmp_path):
    """`selection: halves`, for the search over all settings and for the default, whose layer is chosen too."""
    write("table3", study, tmp_path, fv=(MODELS[:2], TASKS[:2]), default_heads="maximum", selection="halves")
    got = cells_of(tmp_path)
    rows = {
        "FV search": lambda row: True,
        "FV default": lambda row: row.strength == 1 and row.n_heads in (2, 16, 32),
    }
    lower = 0
    for method, wanted in rows.items():
        counts = dict.fromkeys((0.5, 0.75, 0.9, 1.0), 0)
        for model in MODELS[:2]:
            for task in TASKS[:2]:
                best = best_on_the_other_half(study, model, task, wanted)
                few_shot = share(study, f"{model}/icl/{task}.parquet", shots=5)
                pairs = table3.read_pairs(study, [model], [task], "maximum", "halves")
                assert pairs[method.split()[1]].item() == pytest.approx(best)
                lower += best < table3.read_pairs(study, [model], [task], "maximum")[method.split()[1]].item()
                for quantile in counts:
                    counts[quantile] += best >= quantile * few_shot - 1e-9
        for quantile, count in counts.items():
            assert got[f"{method} (count)", f"{quantile:.2f}"].value == count
    assert lower == 8
    text = (tmp_path / "table3.md").read_text()
    assert "chosen on one half of the items and reported on the other, averaged over 20 halvings in both" in text


def test_as_published_the_choice_is_made_on_the_reported_items_and_said_so(study, tmp_path):
    write("table3", study, tmp_path, fv=(MODELS[:1], TASKS[:1]), default_heads="maximum")
    said = (
        "The settings and layers of function vectors are chosen on the items that they are reported on, as in the paper"
    )
    assert said in (tmp_path / "table3.md").read_text()


def test_sources_select_the_very_items_of_a_cell(study, share, tmp_path):
    write("table3", study, tmp_path, fv=(MODELS[:1], TASKS[:2]), default_heads="maximum")
    got = cells_of(tmp_path)
    entries = json.loads(got["FV search", "0.90"].sources)
    assert [(entry["role"], entry["artefact"]) for entry in entries] == [
        (role, f"tiny-0.1b/{kind}/{task}.parquet")
        for task in ("antonym", "country-capital")
        for role, kind in (("best", "fv_sweep"), ("few_shot", "icl"))
    ]
    assert [entry["n"] for entry in entries] == [50, 50, 42, 42]
    pairs = table3.read_pairs(study, MODELS[:1], TASKS[:2], "maximum")
    for entry, pair in zip(entries[::2], pairs.itertuples(), strict=True):
        assert share(study, entry["artefact"], **entry["where"]) == pytest.approx(pair.search)
    assert entries[1]["where"] == {"shots": 5}
    default = json.loads(got["FV default (count)", "0.90"].sources)
    assert {entry["where"]["strength"] for entry in default[::2]} == {1.0}


@pytest.mark.parametrize("selection", ["same_items", "halves"])
def test_every_cell_is_what_its_sources_give(study, tmp_path, selection):
    write("table3", study, tmp_path, fv=(MODELS, TASKS), default_heads="maximum", selection=selection)
    for cell in read_parquet(tmp_path / "table3.parquet", CELLS).to_dict("records"):
        assert recompute(study, cell) == cell["value"]


def test_no_default_setting_in_the_grid(make_study, tmp_path):
    results = make_study(models={"m": (3, 4, 1e8)}, tasks=TASKS[:2], n_heads=(4, 16), strengths=(2.0, 4.0))
    write("table3", results, tmp_path, fv=(["m"], TASKS[:2]), default_heads="maximum")
    cell = cells_of(tmp_path)["FV default", "0.50"]
    assert (isnan(cell.value), isnan(cell.ci_low), cell.n, cell.sources) == (True, True, 0, "[]")
    text = (tmp_path / "table3.md").read_text()
    assert "| FV default | n/a | n/a | n/a | n/a |" in text
    assert "FV default is empty: this study's sweep has no n_heads 2, 16 or 32 at strength 1." in text


def test_a_model_without_the_default_is_left_out_and_named(make_study, tmp_path):
    results = make_study(models={"m": (3, 4, 1e8), "big-70b": (3, 4, 7e10)}, tasks=TASKS[:2], n_heads=(16,))
    write("table3", results, tmp_path, fv=(["m", "big-70b"], TASKS[:2]), default_heads="maximum")
    got = cells_of(tmp_path)
    assert (got["FV default", "0.50"].n, got["FV search", "0.50"].n) == (2, 4)
    assert (
        "leaves out 2 pairs whose sweep has none of these: big-70b antonym, big-70b country-capital."
        in (tmp_path / "table3.md").read_text()
    )


def test_head_counts_that_a_models_sweep_lacks_are_noted(make_study, tmp_path):
    """Drawn from the sweeps themselves, so it is said as well when they come from the store."""
    results = make_study(models={"m": (3, 4, 1e8)}, tasks=TASKS[:2], n_heads=(2, 4))
    make_study(models={"big": (8, 64, 1e8)}, tasks=TASKS[:2], n_heads=(2, 4, 64, 512))
    write(
        "table3",
        results,
        tmp_path,
        fv=(["m", "big"], TASKS[:2]),
        default_heads="maximum",
        settings={"n_heads": [2, 512, 64, 4]},
    )
    note = "- More heads than a model has are left out of its sweep: m without n_heads 64, 512."
    assert note in (tmp_path / "table3.md").read_text().splitlines()
    make_study(models={"big-70b": (3, 4, 7e10)}, tasks=TASKS[:2], n_heads=(2, 4))
    grids = {"n_heads": [2, 4, 64, 512], "large": {"n_heads": [2, 4]}}
    write("table3", results, tmp_path, fv=(["m", "big", "big-70b"], TASKS[:2]), default_heads="maximum", settings=grids)
    assert note in (tmp_path / "table3.md").read_text().splitlines()
    write(
        "table3", results, tmp_path, fv=(["m", "big"], TASKS[:2]), default_heads="maximum", settings={"n_heads": [2, 4]}
    )
    assert "left out of its sweep" not in (tmp_path / "table3.md").read_text()


def test_few_shot_accuracy_of_zero_counts_and_is_noted(make_study, tmp_path):
    results = make_study(models={"m": (3, 4, 1e8)}, tasks=TASKS[:2], unlearnt=[("m", "antonym")])
    write("table3", results, tmp_path, fv=(["m"], ["antonym"]), default_heads="maximum")
    assert cells_of(tmp_path)["FV search", "1.00"].value == 100
    assert "1 pair with few-shot accuracy 0 count" in (tmp_path / "table3.md").read_text()


def test_fewer_shots_than_five_are_noted(make_study, share, tmp_path):
    results = make_study(models={"m": (3, 4, 1e8)}, tasks=TASKS[:1], shots=2)
    pairs = table3.read_pairs(results, ["m"], TASKS[:1], "maximum")
    assert pairs["few_shot"].tolist() == [share(results, "m/icl/antonym.parquet", shots=2)]
    assert any("few-shot means 2-shot" in note for note in table3.notes(pairs, "maximum"))


def test_the_forms_of_the_paper_hold_the_same_cells(study, tmp_path):
    write("table3", study, tmp_path, fv=(MODELS, TASKS), default_heads="maximum")
    got = cells_of(tmp_path)
    form = pd.read_csv(io.StringIO((tmp_path / "table3.csv").read_text()), index_col="Method")
    assert list(form.index) == ["FV default", "FV search"]
    assert list(form.columns) == ["0.50", "0.75", "0.90", "1.00"]
    tex, markdown = (tmp_path / "table3.tex").read_text(), (tmp_path / "table3.md").read_text()
    for (row, column), text in form.stack().items():
        assert text == f"{got[row, column].value:.0f}% ({got[f'{row} (count)', column].value:.0f})"
        assert text in markdown
        assert text.replace("%", r"\%") in tex


def test_a_wrong_default_is_refused(study, tmp_path):
    with pytest.raises(OffcourseError, match="must be one of maximum, single"):
        write("table3", study, tmp_path, fv=(MODELS, TASKS), default_heads="best")


def test_twice_the_same_bytes(study, tmp_path):
    for out in ("a", "b"):
        write("table3", study, tmp_path / out, fv=(MODELS[:1], TASKS[:2]), default_heads="maximum")
    for suffix in ("parquet", "csv", "md", "tex"):
        name = f"table3.{suffix}"
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
