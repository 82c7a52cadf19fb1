"""What a study's jobs write and read beyond their declarations: files, records, views of results, parameters."""

import hashlib
import json
from pathlib import Path
from typing import Any

from offcourse import report
from offcourse.analysis.model_facts import read_facts
from offcourse.analysis.view import NOTHING, Results
from offcourse.data.names import STEERING
from offcourse.data.registry import Registry
from offcourse.files import sha256
from offcourse.graph import catalogue
from offcourse.graph.keys import STEPS, checked_by, class_facts, dtype_of, steps_of
from offcourse.graph.product import SHOWN, Product, dola_tables
from offcourse.graph.products import DOLA, FV, LENS, TV, products_of
from offcourse.layout import Layout
from offcourse.methods.check_model import READ_OF_MODELS
from offcourse.steering import steering
from offcourse.study.config import Study


def job_outputs(product: Product, study: Study, registry: Registry, model: str | None) -> list[str]:
    """The files of one job of a product, relative to the study's folder."""
    copies = [f"ro-crate/{name}" for name in crate_files(study, registry)] if product.rule == "ro_crate" else []
    return product.own_files(study, registry, model) + copies


def job_parameters(product: Product, study: Study, registry: Registry, model: str | None) -> dict[str, Any]:
    """{name: plain JSON value} of everything that one job reads beside files of results."""
    # Leave out methods that the study does not have, so that a method added to the package changes no key.
    absent = set(STEERING) - set(study.methods)
    if product.rule == "ro_crate":
        return study.model_dump(mode="json", exclude=absent)
    if product.rule == "check_model":
        step = checked_by(study, model)
        numerics = {"dtype": dtype_of(study, registry, model, step), "attention": study.numerics.attention}
        row = {column: getattr(registry.model(model), column) for column in READ_OF_MODELS}
        return numerics | {
            "row": row,
            "methods": sorted(study.methods_of(model)),
            "class": class_facts(registry, model),
        }
    read = product.view(results_of(study, registry, Layout(study.study)), model).parameters()
    if product.rule == "report":
        said = {name: steering(name).question for name in study.steering_methods}
        read |= study.model_dump(mode="json", exclude={"resources", "provenance", *absent})
        read |= {"template": template(), "questions": said, "facts of the paper's models": _facts(registry)}
    return read


def _facts(registry: Registry) -> str:
    """Digest of the facts of models.tsv that the report compares with the printed facts."""
    facts = [(fact.model, fact.column, fact.value, fact.printed_value) for fact in read_facts(registry)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def results_of(study: Study, registry: Registry, layout: Layout) -> Results:
    """A study's results folder and what it covers."""
    on = {DOLA: study.dola_questions, LENS: study.lens_questions}

    def artefacts(name: str) -> list[str]:
        step = STEPS[name]
        if not step.runs_in(study):
            return []
        models, units = study.models_of(*step.methods), step.units(study)
        return [f"{model}/{name}/{unit}{step.suffix}" for model in models for unit in units]

    return Results(
        layout.results,
        study.models,
        {name: (study.models_of(name), on.get(name) or study.tasks_of(name)) for name in study.methods},
        artefacts,
        registry,
        study.protocol,
        {name: getattr(study, name).model_dump(mode="json") for name in study.methods},
        asked={
            name: (study.models_of(name), list(getattr(study, name).questions))
            for name in study.steering_methods
            if getattr(study, name).questions
        },
        tables=dola_tables(study),
        shown=lambda: shown_files(study, registry),
    )


def shown_files(study: Study, registry: Registry) -> list[str]:
    """The files of every table and figure of a study, relative to its folder."""
    return [
        path
        for product in products_of(study, registry).values()
        if product.script == SHOWN
        for model in product.instances(study)
        for path in job_outputs(product, study, registry, model)
    ]


def template() -> str:
    """Digest of the report's templates; they are no Python, so the digests of code do not cover them."""
    folder = Path(report.__file__).parent
    return " ".join(sha256(folder / name)[:16] for name in catalogue.TEMPLATES)


WORKFLOW, CONFIGURATION, REPORT = "Snakefile", "study.yaml", "report.html"


def crate_files(study: Study, registry: Registry) -> list[str]:
    """The files of the study's RO-Crate, without the metadata file."""
    shown = [product for name, product in products_of(study, registry).items() if name != "ro_crate"]
    outputs = [
        path for each in shown for model in each.instances(study) for path in job_outputs(each, study, registry, model)
    ]
    layout = Layout(study.study)
    records = [path.relative_to(layout.results).as_posix() for path in records_of(study, registry, layout)]
    return [WORKFLOW, CONFIGURATION, *outputs, *records]


def records_of(study: Study, registry: Registry, layout: Layout) -> list[Path]:
    """The records of all jobs except the RO-Crate's, which is made from the others."""
    steps = [
        layout.record(name, model, unit)
        for name, step in steps_of(study).items()
        for model in study.models_of(*step.methods)
        for unit in step.units(study)
    ]
    shown = [product for name, product in products_of(study, registry).items() if name != "ro_crate"]
    return steps + [layout.rule_record(each.rule, model) for each in shown for model in each.instances(study)]


def pages_in(results: Results) -> list[catalogue.Figure]:
    """Every picture that can be drawn from a results folder, without those of `offcourse.steering`."""
    scopes = {method: results.scopes.get(method, NOTHING) for method in (FV, TV, LENS)}
    pairs = results.registry.post_training(scopes[TV][0])
    methods = [method for method in scopes if method in results.scopes]
    return catalogue.figures(*scopes[FV], methods, scopes[LENS][1], pairs, scopes[TV][0])
