"""Pages of a study and the release: figures that both have, the numbers of each, and no overlapping parts."""

from dataclasses import replace

import pandas as pd
import pytest
from made_study import write_readings, write_study, write_task_vectors
from pictures import assert_tidy, texts
from views import page, results

from offcourse.data.registry import Registry
from offcourse.figures import side_by_side, style
from offcourse.layout import beside
from offcourse.published import side_by_side as side_by_side_names
from offcourse.published.side_by_side_drawings import RELEASED as BY_AUTHORS
from offcourse.published.side_by_side_drawings import STUDY
from offcourse.run.products import picture
from offcourse.schemas.io import read_parquet

TASKS = ["antonym", "french-english"]
RELEASED = ["gpt-j-6b", "llama-2-7b", "llama-2-7b-chat"]
OURS = ["smollm2-135m-instruct", "gpt-j-6b"]


def store(folder, models, tasks=TASKS, **more):
    """A made-up results folder of some models, with heads and strengths that `more` may change."""
    write_study(folder, dict.fromkeys(models, (4, 4, 1e8)), tasks, trials=1, **more)
    write_readings(write_task_vectors(folder, models, tasks, layers=4), models)
    registry = Registry.load(locked=False)
    known = results(folder, fv=(models, tasks), tv=(models, tasks), lens=(models, ["letters"]))
    asked = {**registry.questions, **known.registry.questions}
    return replace(known, registry=replace(registry, questions=asked))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return store(folder / "ours", OURS, shots=7, n_heads=(2, 16), seed=1), store(folder / "release", RELEASED)


def test_both_are_drawn_where_both_have_the_figure(stores):
    """Only the release has a pair of a base and a post-trained model, and only GPT-J is in both."""
    ours, theirs = map(side_by_side_names.pages_by_name, stores)
    sweeps = [f"figure17/gpt-j-6b_{task}" for task in TASKS]
    single = ["figure1", "figure3", "figure5", *sweeps, "figure11", "figure13", "figure14", "figure15"]
    assert side_by_side_names.names(ours, theirs) == [*single, "figure18/gpt-j-6b", "figure2", "figure8"]
    assert "figure16" in theirs and "figure16" not in ours


def test_every_page_has_both_stores_numbers_and_is_tidy(stores, tmp_path, drawn):
    ours, theirs = map(side_by_side_names.pages_by_name, stores)
    for name in side_by_side_names.names(ours, theirs):
        parts = {BY_AUTHORS: picture(*theirs[name]), STUDY: picture(*ours[name])}
        page = side_by_side.together(parts)
        style.draw(page, tmp_path / name)
        numbers = read_parquet(beside(tmp_path / name, "parquet"), page.schema)
        for label, part in parts.items():
            mine = numbers[numbers["store"] == label].drop(columns="store").reset_index(drop=True)
            pd.testing.assert_frame_equal(mine, part.numbers.reset_index(drop=True), check_dtype=False)
        assert {BY_AUTHORS, STUDY} <= texts(drawn[-1])
        assert_tidy(drawn[-1])


def test_panels_that_stand_for_each_other_have_the_same_limits(stores, tmp_path, drawn):
    pages = [side_by_side_names.pages_by_name(each)["figure5"] for each in stores]
    parts = {str(index): picture(*page) for index, page in enumerate(pages)}
    style.draw(side_by_side.together(parts), tmp_path / "x")
    ours, released, _ = drawn[0].axes
    assert ours.get_xlim() == released.get_xlim() and ours.get_ylim() == released.get_ylim()
    assert released.get_xlim()[1] > 64 and any(text.endswith("right: 1 pair of models") for text in texts(drawn[0]))


def test_a_number_of_shots_looks_the_same_in_both(stores, tmp_path, drawn):
    """The release has 0 and 5 shots, this study 7 as well."""
    more = {"fv": (OURS[1:], TASKS)}
    parts = {str(index): page("figure11", each.folder, **more) for index, each in enumerate(stores)}
    style.draw(side_by_side.together(parts), tmp_path / "x")
    looks = [
        {line.get_label(): (line.get_color(), line.get_marker()) for line in axes.lines if "shot" in line.get_label()}
        for axes in drawn[0].axes
    ]
    assert set(looks[0]) == {"0-shot", "5-shot", "7-shot"} and set(looks[1]) == {"0-shot", "5-shot", "10-shot"}
    for label in ("0-shot", "5-shot"):
        assert looks[0][label] == looks[1][label]
    assert len({*looks[0].values(), *looks[1].values()}) == 4
