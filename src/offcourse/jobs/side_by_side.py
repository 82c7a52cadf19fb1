"""A study's figures with those of the authors' release on the same page, by the code that draws either alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from offcourse.jobs.published import Release
from offcourse.jobs.published_pages import models_of, recorded, tasks_of
from offcourse.layout import Layout
from offcourse.present import (
    figure_choices,
    figure_heads,
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
STEPS = ("icl", "fv_sweep", "fv_controls", "tv_icl", "tv_sweep", "logit_lens")


@dataclass(frozen=True)
class Store:
    """Results of one kind and what there is of them. scopes: (models, tasks or question sets) by method."""

    results: Path
    scopes: Mapping[str, tuple[list[str], list[str]]]
    registry: Registry
    protocol: Protocol
    controls: bool = False


def of_study(study: Study, registry: Registry, layout: Layout) -> Store:
    """A study's."""
    on = {"logit_lens": study.lens_questions} | {name: study.tasks_of(name) for name in VECTORS}
    scopes = {name: (study.models_of(name), on[name]) for name in on if name in study.methods}
    return Store(layout.results, scopes, registry, study.protocol, bool(study.function_vectors.controls))


def of_release(release: Release) -> Store:
    """The authors'."""
    scopes = {name: (models_of(release, name), tasks_of(release, name)) for name in VECTORS}
    return Store(release.layout.results, scopes, release.registry, Protocol())


def pages(store: Store) -> dict[str, Callable[[], style.Page]]:
    """Every figure of a store that the release could have, by name."""
    results, registry, scopes = store.results, store.registry, store.scopes
    groups = {name: registry.task(name).group for method in VECTORS for name in scopes.get(method, ((), ()))[1]}
    found: dict[str, Callable[[], style.Page]] = {}
    rows = {method: figure_overview.Row(*scope) for method, scope in scopes.items()}
    if rows:
        found["figure1"] = lambda: figure_overview.page(results, rows)
    vectors = {method: scopes[method] for method in VECTORS if method in scopes}
    if vectors:
        switches = store.protocol.model_dump()
        found["figure3"] = lambda: figure_recovery.page(results, vectors, groups, switches)
    if "function_vectors" in vectors:
        models, tasks = vectors["function_vectors"]
        pairs = registry.post_training(models)
        found["figure5"] = lambda: figure_heads.page(results, models, tasks, groups, pairs)
        found["figure11"] = lambda: figure_shots.page(results, models, tasks)
        for name, what in (("figure13", "n_heads"), ("figure14", "strength"), ("figure15", "layer")):
            found[name] = lambda what=what: figure_choices.page(results, models, tasks, what)
        for model in models:
            for task in tasks:
                found[f"figure17/{model}_{task}"] = lambda model=model, task=task: figure_sweep.page(
                    results, model, task, store.controls
                )
    if "task_vectors" in vectors:
        found |= _task_vectors(store, *vectors["task_vectors"], groups)
    return found


def _task_vectors(
    store: Store, models: list[str], tasks: list[str], groups: Mapping[str, str]
) -> dict[str, Callable[[], style.Page]]:
    found: dict[str, Callable[[], style.Page]] = {}
    direction = store.protocol.tv_direction
    if pairs := store.registry.post_training(models):
        found["figure16"] = lambda: figure_post_training.page(store.results, pairs, tasks, groups, direction)
    for model in models:
        found[f"figure18/{model}"] = lambda model=model: figure_task_vectors.page(store.results, model, tasks)
    return found


def names(study: Store, release: Store) -> list[str]:
    """The figures that both have; a page of one model only where both have the model (and the task)."""
    released = pages(release)
    return [name for name in pages(study) if name in released]


def outputs(study: Store, release: Store) -> list[Path]:
    """The files of every figure that both have."""
    stems = [study.results / "figures" / RULE / name for name in names(study, release)]
    return [style.beside(stem, suffix) for stem in stems for suffix in ("svg", "png", "parquet")]


def make(study: Study, registry: Registry, layout: Layout, release: Release, inputs: list[str]) -> None:
    """Draw every figure that both have and write the record."""
    ours, theirs = of_study(study, registry, layout), of_release(release)
    drawn = pages(ours), pages(theirs)

    def write() -> None:
        for name in names(ours, theirs):
            both = {RELEASED: drawn[1][name](), STUDY: drawn[0][name]()}
            style.draw(side_by_side.together(both), layout.results / "figures" / RULE / name)

    recorded(RULE, layout, inputs, outputs(ours, theirs), write, study.protocol)
