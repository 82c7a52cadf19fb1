"""A study's figures with those of the authors' release on the same page, by the code that draws either alone.

Their names and files are in `published.side_by_side`.
"""

from offcourse.data.registry import Registry
from offcourse.figures import side_by_side, style
from offcourse.layout import Layout
from offcourse.published.pages import recorded
from offcourse.published.release import Release
from offcourse.published.side_by_side import RULE, names, of_release, of_study, outputs
from offcourse.published.view_figures import pages
from offcourse.study.config import Study

RELEASED, STUDY = "Released by the authors", "This study"


def make(study: Study, registry: Registry, layout: Layout, release: Release, inputs: list[str]) -> None:
    """Draw every figure that both have and write the record."""
    ours, theirs = of_study(study, registry, layout), of_release(release)
    drawn = pages(ours), pages(theirs)

    def write() -> None:
        for name in names(ours, theirs):
            both = {RELEASED: drawn[1][name](), STUDY: drawn[0][name]()}
            style.draw(side_by_side.together(both), layout.results / "figures" / RULE / name)

    recorded(RULE, layout, inputs, outputs(ours, theirs), write, study.protocol)
