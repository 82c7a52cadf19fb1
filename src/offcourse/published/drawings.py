"""The figures of the authors' release, by the code that draws a study's; their names: `published.figures`."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from offcourse.errors import OffcourseError
from offcourse.figures import apathy, cie, lens, style, sweep
from offcourse.files import write_json
from offcourse.published.figures import CIE_FIGURES, LENS_FIGURES, names, not_released
from offcourse.published.release import CIE_TASKS, Release, apathy_models
from offcourse.published.side_by_side import of_release
from offcourse.published.view_figures import pages

# Parts of figures that the release cannot give, and why.
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


# These figures read the same results: one process draws them all and reads the results once.
TOGETHER = ("figure3", "figure5", "figure11", "figure13", "figure14", "figure15")


def drawings(release: Release) -> list[dict[str, partial]]:
    """Zero-argument functions that draw the release's figures, by figure name (`published.figures.names`).

    The figures in one dict are drawn in the same worker process, because they read the same results.
    """
    results, view, asked = release.layout.results, of_release(release), release.question_set("lens").name
    of_view = {name: page for name, page in pages(view).items() if name not in ("figure2", "figure8")}
    of_view |= {f"{name}/{asked}": partial(lens.page, results, models, asked) for name, models in LENS_FIGURES.items()}
    of_view[f"figure8/{asked}"] = partial(apathy.page, results, apathy_models(release), asked)
    # Causal effects are a page of their own making: shades have no scale to share.
    calls = {
        f"figure9/{model}": partial(cie.draw, results, model, CIE_TASKS, results / "figures" / "figure9" / model)
        for model in CIE_FIGURES
    }
    calls |= {
        name: partial(_draw_page, of_view[name], results / "figures" / name)
        for name in names(release)
        if name in of_view
    }
    alone = [{name: call} for name, call in calls.items() if name not in TOGETHER]
    return [{name: calls[name] for name in TOGETHER}, *alone]


def _draw_page(page: Callable[[], style.Page], stem: Path) -> None:
    style.draw(page(), stem)


def draw_figures(release: Release, threads: int = 1) -> None:
    """Draw the release's figures in `threads` processes, and write which figures cannot be drawn and why."""
    with ProcessPoolExecutor(max_workers=threads) as pool:
        list(pool.map(_draw, drawings(release)))
    write_json(not_released(release), NOT_RELEASED)


def _draw(job: dict[str, partial]) -> None:
    for figure in job.values():
        figure()


def sweep_page(results: Path, page: str) -> partial:
    """A function that draws one page of the sweep; `page` is {model}_{task}.

    Raises `OffcourseError` for a page that the release does not have.
    """
    model, _, task = page.partition("_")
    if not task or not (results / model / "fv_sweep" / f"{task}.parquet").exists():
        raise OffcourseError(f"the release has no sweep {page!r}; expected {{model}}_{{task}}, as gpt-j-6b_antonym")
    return partial(sweep.draw, results, model, task, results / "figures" / "figure17" / page)
