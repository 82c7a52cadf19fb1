"""The figures of the authors' release, by the code that draws a study's; their names: `jobs.published_figures`."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from offcourse import artefacts
from offcourse.errors import OffcourseError
from offcourse.jobs.published import CIE_TASKS, Release, apathy_models, models_of, tasks_of
from offcourse.jobs.published_figures import CIE_FIGURES, LENS_FIGURES, SWEEP_PAGES, not_released
from offcourse.present import (
    figure_apathy,
    figure_choices,
    figure_cie,
    figure_heads,
    figure_lens,
    figure_overview,
    figure_post_training,
    figure_recovery,
    figure_shots,
    figure_sweep,
    figure_task_vectors,
)
from offcourse.study.protocol import Protocol

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


def drawings(release: Release) -> list[list[partial]]:
    """Every figure that the release can give, as calls whose last argument is its path without a suffix.

    Figures of one list read the same results, which one process then reads once.
    """
    results, registry = release.layout.results, release.registry
    figures, protocol = results / "figures", Protocol()
    models, tasks = models_of(release, "function_vectors"), tasks_of(release, "function_vectors")
    scopes = {
        method: (models_of(release, method), tasks_of(release, method))
        for method in ("function_vectors", "task_vectors")
    }
    groups = {task.name: task.group for task in registry.tasks.values()}
    vectors, its_tasks = scopes["task_vectors"]
    pairs, asked = registry.post_training(vectors), release.question_set("lens").name
    rows = {"logit_lens": figure_overview.Row(models_of(release, "readings"), [asked])}
    rows |= {method: figure_overview.Row(*scope) for method, scope in scopes.items()}
    heads = models, tasks, groups, registry.post_training(models)
    wide = [
        partial(figure_recovery.draw, results, scopes, groups, protocol.model_dump(), figures / "figure3"),
        partial(figure_heads.draw, results, *heads, figures / "figure5"),
        *(
            partial(figure_choices.draw, results, models, tasks, what, figures / name)
            for name, what in figure_choices.FIGURES.items()
        ),
        partial(figure_shots.draw, results, models, tasks, figures / "figure11"),
    ]
    change = results, pairs, its_tasks, groups, protocol.tv_direction
    single = [
        partial(figure_overview.draw, results, rows, figures / "figure1"),
        partial(figure_post_training.draw, *change, figures / "figure16"),
        *(partial(figure_sweep.draw, results, *page, figures / "figure17" / "_".join(page)) for page in SWEEP_PAGES),
        *(
            partial(figure_lens.draw, results, shown, asked, figures / name / asked)
            for name, shown in LENS_FIGURES.items()
        ),
        partial(figure_apathy.draw, results, apathy_models(release), asked, figures / "figure8" / asked),
        *(partial(figure_cie.draw, results, name, CIE_TASKS, figures / "figure9" / name) for name in CIE_FIGURES),
        *(
            partial(figure_task_vectors.draw, results, model, its_tasks, figures / "figure18" / model)
            for model in vectors
        ),
    ]
    return [wide, *([each] for each in single)]


def draw_figures(release: Release, threads: int = 1) -> None:
    """Draw them, `threads` lists at a time, and list what cannot be drawn with the reason."""
    with ProcessPoolExecutor(max_workers=threads) as pool:
        list(pool.map(_draw, drawings(release)))
    artefacts.write_json(not_released(release), NOT_RELEASED)


def _draw(job: list[partial]) -> None:
    for figure in job:
        figure()


def sweep_page(results: Path, page: str) -> partial:
    """The drawing of a page of the sweep, called {model}_{task}. Raises `OffcourseError` for one that is none."""
    model, _, task = page.partition("_")
    if not task or not (results / model / "fv_sweep" / f"{task}.parquet").exists():
        raise OffcourseError(f"the release has no sweep {page!r}; expected {{model}}_{{task}}, as gpt-j-6b_antonym")
    return partial(figure_sweep.draw, results, model, task, results / "figures" / "figure17" / page)
