"""Drawing the figures of the authors' release with the code that draws a study's; `published.figures` names them."""

from pathlib import Path

from offcourse.errors import OffcourseError
from offcourse.files import write_json
from offcourse.graph import catalogue
from offcourse.graph.release import Release, results_of_release
from offcourse.layout import picture_files
from offcourse.published.figures import covered, names_of, not_released, pages_of
from offcourse.run.products import draw

# {figure: part that cannot be drawn from the release, and why}.
NOT_RELEASED = {
    "figure7": "Llama-3 70B: its only drawing is a panel whose vertical axis has no labels, and no page of its own was "
    "released. The top of the axis is 1 as in the other panels, but nothing says where 0 is.",
    "figure8": "means before they were scaled to 0..1, and their intervals: only the scaled ones were drawn",
    "figure9": "effects as numbers (also Figure 10): shades give the order of the heads of a task, to 1/256 of the "
    "range between its least and its largest effect; only the last task of a page has a scale. Present-past and "
    "country-capital were not drawn.",
    "figure11": "10-shot accuracy: only its mean over a model's tasks was drawn",
    "figure17": "single items: the pages are of counts",
}


def draw_figures(release: Release, rule: str) -> None:
    """Draw the figures of a rule; `published_figures` also writes the list of parts that cannot be drawn."""
    results, ids = results_of_release(release), set(names_of(release, rule))
    for page in pages_of(release, results):
        if page["id"] in ids:
            draw(covered(release, results, page), page)
    if rule == "published_figures":
        write_json(not_released(release), NOT_RELEASED)


def draw_sweep_page(release: Release, page: str) -> list[Path]:
    """Draw one page of the sweep and return its files. page: {model}_{task}.

    Raises `OffcourseError` for a page that the release does not have.
    """
    model, _, task = page.partition("_")
    results = results_of_release(release)
    if not task or f"{model}/fv_sweep/{task}.parquet" not in results.artefacts("fv_sweep"):
        raise OffcourseError(f"the release has no sweep {page!r}; expected {{model}}_{{task}}, as gpt-j-6b_antonym")
    draw(results, catalogue.sweep_page(model, task))
    return picture_files(results.folder / "figures" / "figure17" / page)
