"""The figures that a study and the authors' release both have, and the files of the pages that show both.

`published.side_by_side_drawings` draws the pages. This module imports nothing that draws, since the workflow asks it
for names at each start.
"""

from collections.abc import Iterable
from pathlib import Path

from offcourse.analysis.view import Results
from offcourse.graph.catalogue import Figure
from offcourse.graph.release import Release, results_of_release
from offcourse.graph.study_files import pages_in
from offcourse.layout import picture_files
from offcourse.published.figures import covered

RULE = "side_by_side"
# Steps whose results the pages show.
STEPS = ("icl", "fv_sweep", "fv_controls", "tv_icl", "tv_sweep", "logit_lens", "apathy")


def pages_by_name(results: Results, release: Release | None = None) -> dict[str, tuple[Results, Figure]]:
    """{name: (results it shows, catalogue entry)} of every figure that can be compared with the release.

    Logit lens and apathy are shown for the first question set. Causal effects are left out, since the release has
    shades only, which cannot be compared with numbers; and so is the figure of both read positions, which shows the
    release itself. release: the release if `results` are the release's, None for a study's.
    """
    found: dict[str, tuple[Results, Figure]] = {}
    for page in pages_in(results):
        if page["figure"] in ("figure9", "figure_off_by_one"):
            continue
        name = page["figure"] if page["questions"] else page["id"]
        shown = covered(release, results, page) if release and page["figure"] == "figure8" else results
        found.setdefault(name, (shown, page))
    return found


def names(study: Iterable[str], release: Iterable[str]) -> list[str]:
    """Names of the figures that both have. A page per model (and task) counts if both have the model (and the task)."""
    released = set(release)
    return [name for name in study if name in released]


def outputs(study: Results, release: Release) -> list[Path]:
    """The files of every figure that both have."""
    both = names(pages_by_name(study), pages_by_name(results_of_release(release), release))
    return [path for name in both for path in picture_files(study.folder / "figures" / RULE / name)]
