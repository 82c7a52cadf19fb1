"""Task vectors in Table 3 and in Figures 16 and 18, against counting by hand."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from made_study import MODELS, write_study, write_task_vectors
from pictures import assert_tidy, texts
from views import draw, write

from offcourse.analysis import task_vectors
from offcourse.figures import post_training
from offcourse.figures import task_vectors as figure_task_vectors
from offcourse.schemas.function_vectors import ICL
from offcourse.schemas.io import read_parquet, write_parquet
from offcourse.schemas.results import CELLS

TASKS = ["antonym", "english-spanish", "spanish-english", "english-french"]
GROUPS = {
    "antonym": "linguistic",
    "english-spanish": "from-english",
    "spanish-english": "to-english",
    "english-french": "from-english",
}
PUBLISHED = {"tv_denominator": "previous_model", "tv_direction": "spanish_swapped", "tv_score": "dev"}
CORRECTED = {"tv_denominator": "own", "tv_direction": "straight", "tv_score": "test"}
NAMES = list(MODELS)
LAYERS, ITEMS = 5, 20


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A made-up study with task vectors."""
    results = write_study(tmp_path_factory.mktemp("study"), tasks=TASKS, trials=1)
    return write_task_vectors(results, NAMES, TASKS, LAYERS, ITEMS)


def accuracy(share, results, model, task, split):
    return [share(results, f"{model}/tv_sweep/{task}.parquet", split=split, layer=layer) for layer in range(LAYERS)]


def few(share, results, model, task, shots=5):
    return share(results, f"{model}/tv_icl/{task}.parquet", shots=shots)


def test_own_few_shot_accuracy_and_test_prompts(results, share):
    pairs = task_vectors.read_pairs(results, NAMES, TASKS, GROUPS, CORRECTED, before=(0.123, []))
    assert set(pairs["denominator"]) == {"own"}
    for pair in pairs.itertuples():
        dev, test = (accuracy(share, results, pair.model, pair.task, split) for split in ("dev", "test"))
        assert pair.best == pytest.approx(test[dev.index(max(dev))])
        assert pair.few_shot == pytest.approx(few(share, results, pair.model, pair.task))


def test_published_pairs_are_divided_by_what_the_model_before_left_over(results, share):
    pairs = task_vectors.read_pairs(results, NAMES, TASKS, GROUPS, PUBLISHED, before=(0.123, []))
    for pair in pairs.itertuples():
        assert pair.best == pytest.approx(max(accuracy(share, results, pair.model, pair.task, "dev")))
        before = NAMES.index(pair.model) - 1
        # From English, with the Spanish column of the other direction.
        columns = ("spanish-english", "english-french")
        left = 0.123 if before < 0 else sum(few(share, results, NAMES[before], task) for task in columns) / 2
        assert pair.few_shot == pytest.approx(left)
    first = task_vectors.read_pairs(results, NAMES[:2], TASKS[:1], GROUPS, PUBLISHED)
    assert list(first["denominator"]) == ["own", "own"]  # nothing is left over without tasks from English


def test_the_row_of_table_3(results, share, tmp_path):
    write("table3", results, tmp_path, fv=(NAMES, TASKS), tv=(NAMES, TASKS), groups=GROUPS, **CORRECTED)
    found = read_parquet(tmp_path / "table3.parquet", CELLS)
    assert list(found["row"].unique()[:6:2]) == ["FV default", "FV search", "TV"]
    for quantile in (0.5, 0.75, 0.9, 1.0):
        count = 0
        for model in NAMES:
            for task in TASKS:
                dev, test = (accuracy(share, results, model, task, split) for split in ("dev", "test"))
                count += test[dev.index(max(dev))] >= quantile * few(share, results, model, task) - 1e-9
        cell = found[(found["row"] == "TV") & (found["column"] == f"{quantile:.2f}")].iloc[0]
        assert cell["value"] == pytest.approx(100 * count / 12) and cell["n"] == 12
        assert cell["ci_low"] < cell["value"] + 1e-9 and cell["value"] < cell["ci_high"] + 1e-9
    sources = json.loads(found[found["row"] == "TV"]["sources"].iloc[0])
    assert len(sources) == 24 and all((results / source["artefact"]).exists() for source in sources)
    text = (tmp_path / "table3.md").read_text()
    assert "| TV |" in text and "at the layer that is best on the development prompts" in text


def test_a_study_of_task_vectors_alone_has_their_row_alone(results, tmp_path):
    write("table3", results, tmp_path, tv=(NAMES, TASKS), groups=GROUPS, **PUBLISHED)
    assert set(read_parquet(tmp_path / "table3.parquet", CELLS)["row"]) == {"TV", "TV (count)"}
    # The first model has nothing left over, the other two have.
    assert "8 of 12 pairs are divided by a 5-shot accuracy left over" in (tmp_path / "table3.md").read_text()


def test_the_page_of_a_model_draws_its_development_accuracies(results, share, tmp_path):
    draw("figure18", results, tmp_path / "page", model=NAMES[0], tv=(NAMES, TASKS))
    drawn = read_parquet(tmp_path / "page.parquet", figure_task_vectors.NUMBERS)
    for task in TASKS:
        mine = drawn[drawn["task"] == task]
        assert list(mine["accuracy"]) == pytest.approx(accuracy(share, results, NAMES[0], task, "dev"))
        assert set(mine["few_shot"]) == {few(share, results, NAMES[0], task)}
        assert set(mine["zero_shot"]) == {few(share, results, NAMES[0], task, 0)}
    assert (tmp_path / "page.svg").stat().st_size > 1000 and (tmp_path / "page.png").stat().st_size > 1000


def test_other_numbers_of_items_without_a_vector_are_named(results, drawn, tmp_path):
    """0-shot accuracy is over items of its own number; made-up studies have as many of them as of the others."""
    results = shutil.copytree(results, tmp_path / "study")

    def labels():
        draw("figure18", results, tmp_path / "page", model=NAMES[0], tv=(NAMES, TASKS))
        draw("figure1", results, tmp_path / "overview", tv=(NAMES[:1], TASKS))
        for figure in drawn[-2:]:
            assert_tidy(figure)
        return [texts(figure) for figure in drawn[-2:]]

    page, overview = labels()
    assert {"no vector, 5-shot", "no vector, 0-shot", "accuracy (share of 20 items)"} <= page
    assert any(label.endswith("(20 items)") for label in overview)
    for task in TASKS:
        path = results / NAMES[0] / "tv_icl" / f"{task}.parquet"
        known = read_parquet(path, ICL)
        more = known[known["shots"] == 0].assign(item=lambda rows: rows["item"] + ITEMS)
        write_parquet(path, pd.concat([known, more]), ICL)
    page, overview = labels()
    assert {"no vector, 5-shot", "no vector, 0-shot (40 items)", "accuracy (share of 20 items)"} <= page
    assert any(label.endswith("20 items, 0-shot 40)") for label in overview)


def test_the_change_by_post_training_is_the_mean_over_pairs(results, share, tmp_path):
    pairs = [(NAMES[0], NAMES[1]), (NAMES[0], NAMES[2])]

    def recovery(model, names):
        layers = [sum(accuracy(share, results, model, n, "dev")[layer] for n in names) for layer in range(LAYERS)]
        return max(layers) / sum(few(share, results, model, n) for n in names)

    members = {
        "antonym": ["antonym"],
        "to-english": ["english-spanish"],
        "from-english": ["spanish-english", "english-french"],
    }
    draw("figure16", results, tmp_path / "change", tv=(NAMES, TASKS), groups=GROUPS, pairs=pairs)
    drawn = read_parquet(tmp_path / "change.parquet", post_training.NUMBERS).set_index("group")
    assert set(drawn.index) == set(members)
    for group, names in members.items():
        changes = [recovery(post, names) - recovery(base, names) for base, post in pairs]
        assert drawn.loc[group, "change"] == pytest.approx(np.mean(changes))
        # Student's interval with one degree of freedom: the quantile is 12.706.
        half = 12.7062 * abs(changes[0] - changes[1]) / 2
        assert drawn.loc[group, "ci_high"] == pytest.approx(np.mean(changes) + half, rel=1e-4)
    one = post_training.numbers(results, pairs[:1], TASKS, GROUPS, "straight")
    assert one["ci_low"].isna().all() and set(one["pairs"]) == {1}
