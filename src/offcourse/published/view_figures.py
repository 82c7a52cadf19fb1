"""The figures of one results folder, a study's or the authors' release, drawn by the code of `offcourse.figures`."""

from collections.abc import Callable, Mapping
from functools import partial

from offcourse.analysis.view import VECTORS, ResultsView
from offcourse.figures import (
    apathy,
    choices,
    heads,
    lens,
    overview,
    post_training,
    recovery,
    shots,
    style,
    sweep,
    task_vectors,
)


def pages(view: ResultsView) -> dict[str, Callable[[], style.Page]]:
    """Each of `side_by_side.names_of`, in that order."""
    results, registry, scopes = view.results, view.registry, view.scopes
    groups = {name: registry.task(name).group for method in VECTORS for name in scopes.get(method, ((), ()))[1]}
    found: dict[str, Callable[[], style.Page]] = {}
    rows = {name: overview.Row(*scopes[name]) for name in ("logit_lens", *VECTORS) if name in scopes}
    if rows:
        found["figure1"] = partial(overview.page, results, rows)
    vectors = {method: scopes[method] for method in VECTORS if method in scopes}
    if vectors:
        switches = view.protocol.model_dump()
        found["figure3"] = partial(recovery.page, results, vectors, groups, switches, view.controls)
    if "function_vectors" in vectors:
        models, tasks = vectors["function_vectors"]
        pairs = registry.post_training(models)
        found["figure5"] = partial(heads.page, results, models, tasks, groups, pairs)
        found["figure11"] = partial(shots.page, results, models, tasks)
        for name, what in choices.FIGURES.items():
            found[name] = partial(choices.page, results, models, tasks, what)
        for model in models:
            for task in tasks:
                page = partial(sweep.page, results, model, task, bool(view.controls))
                found[f"figure17/{model}_{task}"] = page
    for name, of, method in (("figure2", lens, "logit_lens"), ("figure8", apathy, "apathy")):
        if method in scopes:
            its_models, [asked, *_] = scopes[method]
            found[name] = partial(of.page, results, its_models, asked)
    if "task_vectors" in vectors:
        found |= _task_vectors(view, *vectors["task_vectors"], groups)
    return found


def _task_vectors(
    view: ResultsView, models: list[str], tasks: list[str], groups: Mapping[str, str]
) -> dict[str, Callable[[], style.Page]]:
    found: dict[str, Callable[[], style.Page]] = {}
    direction = view.protocol.tv_direction
    if pairs := view.registry.post_training(models):
        found["figure16"] = partial(post_training.page, view.results, pairs, tasks, groups, direction)
    for model in models:
        found[f"figure18/{model}"] = partial(task_vectors.page, view.results, model, tasks)
    return found
