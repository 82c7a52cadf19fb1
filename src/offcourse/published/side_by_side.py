"""Which figures a study and the authors' release both have, and where a page of both goes.

Imports nothing that draws: the workflow asks for these names each time it starts. The pages are drawn in
`published.side_by_side_drawings`.
"""

from pathlib import Path

from offcourse.analysis.view import VECTORS, ResultsView
from offcourse.data.registry import Registry
from offcourse.layout import Layout, picture_files
from offcourse.published.release import Release, apathy_models, models_of, tasks_of
from offcourse.study.config import Study
from offcourse.study.protocol import Protocol

RULE = "side_by_side"
# What the pages are drawn from.
STEPS = ("icl", "fv_sweep", "fv_controls", "tv_icl", "tv_sweep", "logit_lens", "apathy")


def of_study(study: Study, registry: Registry, layout: Layout) -> ResultsView:
    """A study's."""
    on = {"logit_lens": study.lens_questions} | {name: study.tasks_of(name) for name in VECTORS}
    scopes = {name: (study.models_of(name), on[name]) for name in on if name in study.methods}
    if "logit_lens" in scopes:
        scopes["apathy"] = scopes["logit_lens"]
    return ResultsView(layout.results, scopes, registry, study.protocol, study.function_vectors.controls)


def of_release(release: Release) -> ResultsView:
    """The authors'."""
    scopes = {name: (models_of(release, name), tasks_of(release, name)) for name in VECTORS}
    asked = [release.question_set("lens").name]
    scopes["logit_lens"] = models_of(release, "readings"), asked
    scopes["apathy"] = apathy_models(release), asked
    return ResultsView(release.layout.results, scopes, release.registry, Protocol())


def names_of(view: ResultsView) -> list[str]:
    """Every figure of a store whose numbers mean the same in the release's.

    Of the logit lens and apathy the first question set, whatever it is called. The release has causal effects as shades
    only, which are no numbers to put beside a study's.
    """
    scopes = view.scopes
    found = ["figure1"] if {"logit_lens", *VECTORS} & set(scopes) else []
    if set(VECTORS) & set(scopes):
        found.append("figure3")
    if "function_vectors" in scopes:
        models, tasks = scopes["function_vectors"]
        found += ["figure5", "figure11", "figure13", "figure14", "figure15"]
        found += [f"figure17/{model}_{task}" for model in models for task in tasks]
    found += [name for name, method in (("figure2", "logit_lens"), ("figure8", "apathy")) if method in scopes]
    if "task_vectors" in scopes:
        models, _ = scopes["task_vectors"]
        found += ["figure16"] * bool(view.registry.post_training(models))
        found += [f"figure18/{model}" for model in models]
    return found


def names(study: ResultsView, release: ResultsView) -> list[str]:
    """The figures that both have; a page of one model only where both have the model (and the task)."""
    released = set(names_of(release))
    return [name for name in names_of(study) if name in released]


def outputs(study: ResultsView, release: ResultsView) -> list[Path]:
    """The files of every figure that both have."""
    return [path for name in names(study, release) for path in picture_files(study.results / "figures" / RULE / name)]
