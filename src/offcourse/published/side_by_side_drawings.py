"""Drawing a study's figures and the authors' on one page, with the code that draws either alone.

`published.side_by_side` lists names and files of the pages.
"""

from offcourse.data.registry import Registry
from offcourse.figures import side_by_side, style
from offcourse.graph.release import Release, results_of_release
from offcourse.graph.study_files import results_of
from offcourse.layout import Layout
from offcourse.published.pages import recorded
from offcourse.published.side_by_side import RULE, names, outputs, pages_by_name
from offcourse.run.products import picture
from offcourse.study.config import Study

RELEASED, STUDY = "Released by the authors", "This study"


def make(study: Study, registry: Registry, layout: Layout, release: Release, inputs: list[str]) -> None:
    """Draw every figure that the study and the release both have, and write the record."""
    results = results_of(study, registry, layout)
    ours, theirs = pages_by_name(results), pages_by_name(results_of_release(release), release)

    def write() -> None:
        for name in names(ours, theirs):
            both = {RELEASED: picture(*theirs[name]), STUDY: picture(*ours[name])}
            style.draw(side_by_side.together(both), layout.results / "figures" / RULE / name)

    recorded(RULE, layout, inputs, outputs(results, release), write, study.protocol)
