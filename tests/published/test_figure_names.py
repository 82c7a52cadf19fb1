"""The names of the release's figures, which the workflow reads at each start, equal the figures that are drawn."""

from offcourse.graph.release import Release, results_of_release
from offcourse.graph.release_rules import FIGURES, NAME
from offcourse.layout import Layout
from offcourse.published.figures import figure_files, names, names_of, pages_of


def test_the_names_are_those_of_the_drawings(tmp_path):
    release = Release(Layout(NAME, tmp_path))
    drawn = [name for rule in FIGURES for name in names_of(release, rule)]
    assert sorted(drawn) == sorted(names(release))
    pages = pages_of(release, results_of_release(release))
    assert sorted(page["id"] for page in pages) == sorted(drawn)


def test_a_page_of_the_report_is_a_file_of_a_drawing(tmp_path):
    release = Release(Layout(NAME, tmp_path))
    shown = [release.layout.results / page["svg"] for page in pages_of(release, results_of_release(release))]
    assert shown and set(shown) <= set(figure_files(release))
