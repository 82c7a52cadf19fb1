"""Two stores on one page: which figures both have, whose numbers are whose, and that nothing is on top of anything."""

import pandas as pd
import pytest
from made_study import write_readings, write_study, write_task_vectors
from pictures import assert_tidy, texts

from offcourse.analysis.view import VECTORS, ResultsView
from offcourse.data.registry import Registry
from offcourse.figures import heads, shots, side_by_side, style
from offcourse.layout import beside
from offcourse.published import side_by_side as jobs
from offcourse.published.side_by_side_drawings import RELEASED as BY_AUTHORS
from offcourse.published.side_by_side_drawings import STUDY
from offcourse.published.view_figures import pages
from offcourse.schemas.io import read_parquet
from offcourse.study.protocol import Protocol

TASKS = ["antonym", "french-english"]
RELEASED = ["gpt-j-6b", "llama-2-7b", "llama-2-7b-chat"]
OURS = ["smollm2-135m-instruct", "gpt-j-6b"]


def store(folder, models, tasks=TASKS, **more):
    """A made-up store of some models, with heads and strengths that `more` may change."""
    write_study(folder, dict.fromkeys(models, (4, 4, 1e8)), tasks, trials=1, **more)
    write_readings(write_task_vectors(folder, models, tasks, layers=4), models)
    scopes = dict.fromkeys(VECTORS, (models, tasks)) | dict.fromkeys(("logit_lens", "apathy"), (models, ["letters"]))
    return ResultsView(folder, scopes, Registry.load(locked=False), Protocol())


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return store(folder / "ours", OURS, shots=7, n_heads=(2, 16), seed=1), store(folder / "release", RELEASED)


def test_both_are_drawn_where_both_have_the_figure(stores):
    """Only the release has a pair of a base and a post-trained model, and only GPT-J is in both."""
    single = ["figure1", "figure3", "figure5", "figure11", "figure13", "figure14", "figure15"]
    pages = [*(f"figure17/gpt-j-6b_{task}" for task in TASKS), "figure2", "figure8", "figure18/gpt-j-6b"]
    assert jobs.names(*stores) == [*single, *pages]
    assert "figure16" in jobs.names_of(stores[1])
    files = jobs.outputs(*stores)
    assert len(files) == 3 * 12 and len(set(files)) == 3 * 12
    assert stores[0].results / "figures/side_by_side/figure17/gpt-j-6b_antonym.svg" in files


def test_the_names_are_those_of_the_drawings(stores):
    for store in stores:
        assert jobs.names_of(store) == list(pages(store))


def test_every_page_has_both_stores_numbers_and_is_tidy(stores, tmp_path, drawn):
    ours, theirs = (pages(each) for each in stores)
    for name in jobs.names(*stores):
        parts = {BY_AUTHORS: theirs[name](), STUDY: ours[name]()}
        page = side_by_side.together(parts)
        style.draw(page, tmp_path / name)
        numbers = read_parquet(beside(tmp_path / name, "parquet"), page.schema)
        for label, part in parts.items():
            mine = numbers[numbers["store"] == label].drop(columns="store").reset_index(drop=True)
            pd.testing.assert_frame_equal(mine, part.numbers.reset_index(drop=True), check_dtype=False)
        assert {BY_AUTHORS, STUDY} <= texts(drawn[-1])
        assert_tidy(drawn[-1])


def test_panels_that_stand_for_each_other_have_the_same_limits(stores, tmp_path, drawn):
    registry, groups = stores[0].registry, dict.fromkeys(TASKS, "linguistic")
    parts = {
        str(index): heads.page(each.results, models, TASKS, groups, registry.post_training(models))
        for index, (each, models) in enumerate(zip(stores, (OURS, RELEASED), strict=True))
    }
    style.draw(side_by_side.together(parts), tmp_path / "x")
    ours, released, change = drawn[0].axes
    assert ours.get_xlim() == released.get_xlim() and ours.get_ylim() == released.get_ylim()
    assert released.get_xlim()[1] > 64 and change.get_xlabel().endswith("(1 pair of models)")


def test_a_number_of_shots_looks_the_same_in_both(stores, tmp_path, drawn):
    """The release has 0 and 5 shots, this study 7 as well."""
    parts = {str(index): shots.page(each.results, OURS[1:], TASKS) for index, each in enumerate(stores)}
    style.draw(side_by_side.together(parts), tmp_path / "x")
    looks = [
        {line.get_label(): (line.get_color(), line.get_marker()) for line in axes.lines if "shot" in line.get_label()}
        for axes in drawn[0].axes
    ]
    assert set(looks[0]) == {"0-shot", "5-shot", "7-shot"} and set(looks[1]) == {"0-shot", "5-shot", "10-shot"}
    for label in ("0-shot", "5-shot"):
        assert looks[0][label] == looks[1][label]
    assert len({*looks[0].values(), *looks[1].values()}) == 4
