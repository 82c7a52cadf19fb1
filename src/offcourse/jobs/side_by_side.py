"""A study's figures with those of the authors' release on the same page, by the code that draws either alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from offcourse.jobs.published import Release, apathy_models, models_of, tasks_of
from offcourse.jobs.published_pages import recorded
from offcourse.layout import Layout
from offcourse.present import (
    figure_apathy,
    figure_choices,
    figure_heads,
    figure_lens,
    figure_overview,
    figure_post_training,
    figure_recovery,
    figure_shots,
    figure_sweep,
    figure_task_vectors,
    side_by_side,
    style,
)
from offcourse.registry import Registry
from offcourse.study.config import Study
from offcourse.study.protocol import Protocol

RULE = "side_by_side"
RELEASED, STUDY = "Released by the authors", "This study"
VECTORS = ("function_vectors", "task_vectors")
# What the pages are drawn from.
STEPS = ("icl", "fv_sweep", "fv_controls", "tv_icl", "tv_sweep", "logit_lens", "apathy")


@dataclass(frozen=True)
class Store:
    """Results of one kind and what there is of them.

    scopes: (models, tasks or question sets) by method, with apathy apart from the logit lens. controls: of a study.
    """

    results: Path
    scopes: Mapping[str, tuple[list[str], list[str]]]
    registry: Registry
    protocol: Protocol
    controls: Sequence[str] = ()


def of_study(study: Study, registry: Registry, layout: Layout) -> Store:
    """A study's."""
    on = {"logit_lens": study.lens_questions} | {name: study.tasks_of(name) for name in VECTORS}
    scopes = {name: (study.models_of(name), on[name]) for name in on if name in study.methods}
    if "logit_lens" in scopes:
        scopes["apathy"] = scopes["logit_lens"]
    return Store(layout.results, scopes, registry, study.protocol, study.function_vectors.controls)


def of_release(release: Release) -> Store:
    """The authors'."""
    scopes = {name: (models_of(release, name), tasks_of(release, name)) for name in VECTORS}
    asked = [release.question_set("lens").name]
    scopes["logit_lens"] = models_of(release, "readings"), asked
    scopes["apathy"] = apathy_models(release), asked
    return Store(release.layout.results, scopes, release.registry, Protocol())


def pages(store: Store) -> dict[str, Callable[[], style.Page]]:
    """Every figure of a store whose numbers mean the same in the release's, by name.

    Of the logit lens and apathy the first question set, whatever it is called. The release has causal effects as shades
    only, which are no numbers to put beside a study's.
    """
    results, registry, scopes = store.results, store.registry, store.scopes
    groups = {name: registry.task(name).group for method in VECTORS for name in scopes.get(method, ((), ()))[1]}
    found: dict[str, Callable[[], style.Page]] = {}
    rows = {name: figure_overview.Row(*scopes[name]) for name in ("logit_lens", *VECTORS) if name in scopes}
    if rows:
        found["figure1"] = partial(figure_overview.page, results, rows)
    vectors = {method: scopes[method] for method in VECTORS if method in scopes}
    if vectors:
        switches = store.protocol.model_dump()
        found["figure3"] = partial(figure_recovery.page, results, vectors, groups, switches, store.controls)
    if "function_vectors" in vectors:
        models, tasks = vectors["function_vectors"]
        pairs = registry.post_training(models)
        found["figure5"] = partial(figure_heads.page, results, models, tasks, groups, pairs)
        found["figure11"] = partial(figure_shots.page, results, models, tasks)
        for name, what in figure_choices.FIGURES.items():
            found[name] = partial(figure_choices.page, results, models, tasks, what)
        for model in models:
            for task in tasks:
                page = partial(figure_sweep.page, results, model, task, bool(store.controls))
                found[f"figure17/{model}_{task}"] = page
    for name, of, method in (("figure2", figure_lens, "logit_lens"), ("figure8", figure_apathy, "apathy")):
        if method in scopes:
            its_models, [asked, *_] = scopes[method]
            found[name] = partial(of.page, results, its_models, asked)
    if "task_vectors" in vectors:
        found |= _task_vectors(store, *vectors["task_vectors"], groups)
    return found


def _task_vectors(
    store: Store, models: list[str], tasks: list[str], groups: Mapping[str, str]
) -> dict[str, Callable[[], style.Page]]:
    found: dict[str, Callable[[], style.Page]] = {}
    direction = store.protocol.tv_direction
    if pairs := store.registry.post_training(models):
        found["figure16"] = partial(figure_post_training.page, store.results, pairs, tasks, groups, direction)
    for model in models:
        found[f"figure18/{model}"] = partial(figure_task_vectors.page, store.results, model, tasks)
    return found


def names(study: Store, release: Store) -> list[str]:
    """The figures that both have; a page of one model only where both have the model (and the task)."""
    released = pages(release)
    return [name for name in pages(study) if name in released]


def outputs(study: Store, release: Store) -> list[Path]:
    """The files of every figure that both have."""
    return [path for name in names(study, release) for path in style.files(study.results / "figures" / RULE / name)]


def make(study: Study, registry: Registry, layout: Layout, release: Release, inputs: list[str]) -> None:
    """Draw every figure that both have and write the record."""
    ours, theirs = of_study(study, registry, layout), of_release(release)
    drawn = pages(ours), pages(theirs)

    def write() -> None:
        for name in names(ours, theirs):
            both = {RELEASED: drawn[1][name](), STUDY: drawn[0][name]()}
            style.draw(side_by_side.together(both), layout.results / "figures" / RULE / name)

    recorded(RULE, layout, inputs, outputs(ours, theirs), write, study.protocol)
