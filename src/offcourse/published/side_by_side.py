"""Which figures a study and the authors' release both have, and where a page of both goes.

Imports nothing that draws: the workflow asks for these names each time it starts. The pages are drawn in
`published.side_by_side_drawings`.
"""

from collections.abc import Iterable
from pathlib import Path

from offcourse.analysis.view import Results
from offcourse.graph.catalogue import Figure
from offcourse.graph.products import pages_in
from offcourse.graph.release import Release, results_of_release
from offcourse.layout import picture_files
from offcourse.published.figures import covered

RULE = "side_by_side"
# What the pages are drawn from.
STEPS = ("icl", "fv_sweep", "fv_controls", "tv_icl", "tv_sweep", "logit_lens", "apathy")


def pages_by_name(results: Results, release: Release | None = None) -> dict[str, tuple[Results, Figure]]:
    """Every figure of a results folder whose numbers mean the same in the release's, with the results that it shows.

    Of the logit lens and apathy the first question set, whatever it is called. The release has causal effects as shades
    only, which are no numbers to put beside a study's. release: whose results they are, None for a study's.
    """
    found: dict[str, tuple[Results, Figure]] = {}
    for page in pages_in(results):
        if page["figure"] == "figure9":
            continue
        name = page["figure"] if page["questions"] else page["id"]
        shown = covered(release, results, page) if release and page["figure"] == "figure8" else results
        found.setdefault(name, (shown, page))
    return found


def names(study: Iterable[str], release: Iterable[str]) -> list[str]:
    """The figures that both have; a page of one model only where both have the model (and the task)."""
    released = set(release)
    return [name for name in study if name in released]


def outputs(study: Results, release: Release) -> list[Path]:
    """The files of every figure that both have."""
    both = names(pages_by_name(study), pages_by_name(results_of_release(release), release))
    return [path for name in both for path in picture_files(study.folder / "figures" / RULE / name)]
