"""The products: `model.json`, tables, figures, report and RO-Crate, each with a declaration of its reads and writes."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offcourse import report
from offcourse.analysis.model_facts import read_facts
from offcourse.analysis.view import NOTHING, Declaration, Results, ResultsView
from offcourse.data.names import STEERING
from offcourse.data.registry import Registry
from offcourse.files import sha256
from offcourse.graph import catalogue
from offcourse.graph.keys import STEPS, checked_by, class_facts, dtype_of, steps_of
from offcourse.graph.step import HANDED
from offcourse.layout import Layout, picture_files
from offcourse.methods.check_model import READ_OF_MODELS
from offcourse.schemas.function_vectors import READ_POSITION
from offcourse.steering import steering
from offcourse.study.config import Study
from offcourse.study.protocol import Protocol
from offcourse.tables.writing import SUFFIXES

SHOWN = "product"  # the script of all tables and figures


@dataclass(frozen=True)
class Product(Declaration):
    """A rule that is no computing step: it makes a table, a figure, `model.json`, the report or the RO-Crate.

    The fields of `Declaration` say what the product reads. The rule runs if the study has one of the product's methods,
    or always if the product names no method.

    target: "module:function" where the code begins: `write(view, out)` of a table, `page(view, shown)` of a figure.
    tables: numbers or names of the tables that it writes. figures: ids of the figures that it draws. files: other
    files.
    per_model: whether there is a job for each model. local: whether the job runs where Snakemake itself runs.
    released: whether the product is also made from the authors' release (a table by the rule `published_{rule}`).
    control: one of `function_vectors.controls` that a study must have for the rule to run ("": none).
    script: name of the file in workflow/scripts without .py. caption: name of the file in workflow/report ("": `rule`).
    more_code: code that the job hands to the target, which therefore need not import it, see `Step.targets`.
    """

    target: str = ""
    tables: tuple[int | str, ...] = ()
    figures: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    per_model: bool = False
    local: bool = False
    released: bool = False
    control: str = ""
    script: str = SHOWN
    caption: str = ""
    more_code: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Where the rule's code begins: the target, and the code that hands it the view or draws its picture."""
        return (self.target, *self.more_code)

    def instances(self, study: Study) -> list[str | None]:
        """The models that have a job of their own; [None] for one job of the whole study."""
        return self.models(study) if self.per_model else [None]

    def models(self, study: Study, model: str | None = None) -> list[str]:
        """The models of the product's methods; [model] for the job of one model."""
        if model:
            return [model]
        return study.models_of(*self.methods) if self.methods else study.models

    def outputs(self, study: Study, registry: Registry, model: str | None) -> list[str]:
        """The files of one job, relative to the study's folder."""
        paths = [name.format(model=model) for name in self.files]
        if self.rule == "ro_crate":
            paths += [f"ro-crate/{name}" for name in crate_files(study, registry)]
        paths += self.table_files
        for page in self.pages(study, registry, model):
            paths += [path.as_posix() for path in picture_files(Path(page["svg"]).with_suffix(""))]
        return paths

    @property
    def table_files(self) -> list[str]:
        """The files of the product's tables."""
        return [f"tables/{table_name(table)}.{suffix}" for table in self.tables for suffix in SUFFIXES]

    def pages(self, study: Study, registry: Registry, model: str | None) -> list[catalogue.Figure]:
        """The pictures of one job."""
        return [page for page in pages(study, registry, model) if page["figure"] in self.figures]

    def upstream(self, study: Study, model: str | None) -> list[tuple[str, str, str]]:
        """The results of steps that the product reads, as (step, model, unit)."""
        wanted = [STEPS[step] for step in self.inputs if STEPS[step].runs_in(study)]
        return [
            (step.name, name, unit)
            for step in wanted
            for name in ([model] if model else study.models_of(*step.methods))
            for unit in step.units(study)
        ]

    def numbers_read(self, study: Study) -> list[int]:
        """Numbers of the tables that the product reads."""
        return [number for number in self.tables_read if number in _tables_of(study)]

    def view(self, results: Results, model: str | None = None) -> ResultsView:
        """The view of a results folder that the product's code is given."""
        return ResultsView(self, results, model)

    def parameters(self, study: Study, registry: Registry, model: str | None) -> dict[str, Any]:
        """{name: plain JSON value} of everything that one job reads beside files of results."""
        # Leave out methods that the study does not have, so that a method added to the package changes no key.
        absent = set(STEERING) - set(study.methods)
        if self.rule == "ro_crate":
            return study.model_dump(mode="json", exclude=absent)
        if self.rule == "check_model":
            step = checked_by(study, model)
            numerics = {"dtype": dtype_of(study, registry, model, step), "attention": study.numerics.attention}
            row = {column: getattr(registry.model(model), column) for column in READ_OF_MODELS}
            return numerics | {
                "row": row,
                "methods": sorted(study.methods_of(model)),
                "class": class_facts(registry, model),
            }
        read = self.view(results_of(study, registry, Layout(study.study)), model).parameters()
        if self.rule == "report":
            said = {name: steering(name).question for name in study.steering_methods}
            read |= study.model_dump(mode="json", exclude={"resources", "provenance", *absent})
            read |= {"template": template(), "questions": said, "facts of the paper's models": _facts(registry)}
        return read


# Tables that have no LaTeX form.
PLAIN = ("parquet", "csv", "md")


def table_name(table: int | str) -> str:
    """The stem of a table's files. table: a number for the paper's tables, else a name."""
    return f"table{table}" if isinstance(table, int) else table


def _facts(registry: Registry) -> str:
    """Digest of the facts of models.tsv that the report compares with the printed facts."""
    facts = [(fact.model, fact.column, fact.value, fact.printed_value) for fact in read_facts(registry)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


# Steps of the sweeps of `offcourse.steering`'s methods.
SWEPT = tuple(f"{name}_sweep" for name in STEERING)
LABELS = {name: steering(name).label for name in STEERING}
FV, TV, DOLA, LENS = "function_vectors", "task_vectors", "dola", "logit_lens"
VIEW, DRAW = "offcourse.analysis.view:ResultsView", "offcourse.figures.style:draw"
# By these the rules of claims tell models apart, sort them by size and group them.
OF_MODELS = ("models.family", "models.repo", "models.tokens", "models.parameters")
GROUP, FORM, BASE, LABEL = "tasks.group", "questions.form", "models.base", "models.label"


def _table(rule: str, module: str, *methods: str, **more: Any) -> Product:
    return Product(rule, methods, target=f"offcourse.tables.{module}:write", more_code=(VIEW,), **more)


def _plain_table(rule: str, module: str, *methods: str, **more: Any) -> Product:
    files = tuple(f"tables/{rule}.{suffix}" for suffix in PLAIN)
    return _table(rule, module, *methods, files=files, **more)


def _figure(rule: str, module: str, *methods: str, **more: Any) -> Product:
    return Product(rule, methods, target=f"offcourse.figures.{module}:page", more_code=(VIEW, DRAW), **more)


_PRODUCTS = (
    Product(
        "check_model",
        target="offcourse.methods.check_model:check_model",
        files=("{model}/model.json",),
        per_model=True,
        script="check_model",
        more_code=HANDED["model and tokenizer"],
    ),
    _table(
        "table3",
        "table3",
        FV,
        TV,
        inputs=("icl", "fv_sweep", "tv_icl", "tv_sweep"),
        columns=(GROUP,),
        switches=("default_heads", "tv_denominator", "tv_direction", "tv_score", "selection"),
        settings=("function_vectors.n_heads", "function_vectors.large"),
        known=("last",),
        tables=(3,),
        released=True,
    ),
    _table(
        "tables_dola",
        "dola",
        DOLA,
        inputs=("dola",),
        columns=(FORM,),
        switches=("dola_mask", "ties", "score_dtype", "selection"),
        tables=tuple(catalogue.DOLA_TABLES),
        released=True,
    ),
    _plain_table(
        "recovery",
        "recovery",
        FV,
        TV,
        inputs=("icl", "fv_sweep", "tv_icl", "tv_sweep"),
        columns=(GROUP,),
        switches=("default_heads", "tv_denominator", "tv_direction", "tv_score", "selection"),
        known=("last",),
        released=True,
    ),
    _plain_table("head_overlap", "head_overlap", FV, inputs=("cie",), released=True),
    _plain_table(
        "dola_changes",
        "dola_changes",
        DOLA,
        inputs=("dola",),
        columns=(FORM,),
        switches=("dola_mask", "ties", "score_dtype", "selection"),
        released=True,
    ),
    _plain_table(
        "certainty",
        "certainty",
        FV,
        TV,
        DOLA,
        *STEERING,
        inputs=("icl", "fv_sweep", "fv_controls", *SWEPT, "tv_icl", "tv_sweep", "dola"),
        columns=(FORM,),
        switches=("dola_mask", "ties", "score_dtype"),
        settings=("function_vectors.controls",),
        labels=LABELS,
    ),
    _figure(
        "figure_off_by_one",
        "off_by_one",
        FV,
        inputs=("icl", "fv_sweep", "fv_controls"),
        columns=(LABEL,),
        tracked=("findings",),
        switches=("head_read_position",),
        settings=("function_vectors.controls", "function_vectors.build_draws"),
        figures=("figure_off_by_one",),
    ),
    _figure(
        "figure_sweep",
        "sweep",
        FV,
        inputs=("icl", "fv_sweep", "fv_controls"),
        columns=(LABEL,),
        settings=("function_vectors.controls",),
        figures=("figure17",),
        per_model=True,
        unordered=True,
    ),
    _figure(
        "figure_overview",
        "overview",
        LENS,
        FV,
        TV,
        inputs=("icl", "fv_sweep", "tv_icl", "tv_sweep", "logit_lens"),
        columns=(LABEL,),
        figures=("figure1",),
    ),
    _figure(
        "figure_recovery",
        "recovery",
        FV,
        TV,
        inputs=("icl", "fv_sweep", "fv_controls", "tv_icl", "tv_sweep"),
        columns=(GROUP, LABEL),
        settings=("function_vectors.controls",),
        switches=("default_heads", "tv_average", "tv_direction"),
        figures=("figure3",),
    ),
    _figure("figure_heads", "heads", FV, inputs=("icl", "fv_sweep"), columns=(GROUP, BASE), figures=("figure5",)),
    _figure("figure_cie", "cie", FV, inputs=("cie",), columns=(LABEL,), figures=("figure9",), per_model=True),
    _figure("figure_shots", "shots", FV, inputs=("icl",), columns=(LABEL,), figures=("figure11",)),
    _figure(
        "figure_choices",
        "choices",
        FV,
        inputs=("icl", "fv_sweep"),
        columns=(LABEL,),
        figures=("figure13", "figure14", "figure15"),
    ),
    _figure(
        "figure_task_vectors",
        "task_vectors",
        TV,
        inputs=("tv_icl", "tv_sweep"),
        columns=(LABEL,),
        figures=("figure18",),
        per_model=True,
    ),
    _figure(
        "figure_post_training",
        "post_training",
        TV,
        inputs=("tv_icl", "tv_sweep"),
        columns=(GROUP, BASE),
        switches=("tv_direction",),
        figures=("figure16",),
    ),
    _figure("figure_lens", "lens", LENS, inputs=("logit_lens",), columns=(LABEL,), figures=("figure2",)),
    _figure("figure_apathy", "apathy", LENS, inputs=("logit_lens", "apathy"), columns=(LABEL,), figures=("figure8",)),
    _plain_table(
        "steering_summary",
        "steering_summary",
        FV,
        TV,
        DOLA,
        inputs=("prompts", "icl", "fv_sweep", "tv_icl", "tv_sweep"),
        tables_read=(1, 2),
    ),
    _plain_table(
        "sensitivity",
        "sensitivity",
        FV,
        TV,
        DOLA,
        inputs=("icl", "fv_sweep", "fv_controls", "tv_icl", "tv_sweep", "dola"),
        columns=(GROUP, FORM, "models.architecture"),
        tracked=("claims.tsv",),
        switches=tuple(Protocol.model_fields),
        settings=("function_vectors.controls",),
        known=("last", "adds_bos", "cannot", "without"),
        released=True,
    ),
    _plain_table(
        "off_by_one",
        "off_by_one",
        FV,
        inputs=("icl", "fv_sweep", "fv_controls"),
        columns=(LABEL,),
        switches=("head_read_position",),
        settings=("function_vectors.controls", "function_vectors.build_draws"),
        control=READ_POSITION,
    ),
    _table(
        "table_methods",
        "methods",
        *STEERING,
        inputs=("icl", "fv_sweep", *SWEPT),
        switches=("selection",),
        tables=("table_methods",),
        labels=LABELS,
    ),
    *(
        _figure(
            f"figure_{name}",
            "steering",
            name,
            inputs=("icl", f"{name}_sweep"),
            columns=(LABEL,),
            figures=(f"figure_{name}",),
            per_model=True,
            caption="figure_steering",
            labels={name: steering(name).label},
        )
        for name in STEERING
    ),
    _table("tables_facts", "model_facts", tables=tuple(catalogue.FACT_TABLES), local=True, released=True),
    Product(
        "report",
        columns=(BASE, LABEL, *OF_MODELS),
        tracked=("claims.tsv", "paper", "released/digests.tsv", "findings"),
        known=("adds_bos",),
        shown=True,
        target="offcourse.report.page:write",
        more_code=(VIEW, "offcourse.analysis.comparison:comparison"),
        files=("report.html",),
        local=True,
        script="report",
    ),
    Product(
        "ro_crate",
        target="offcourse.provenance.crate:write_crate",
        files=("ro-crate/ro-crate-metadata.json",),
        local=True,
        script="ro_crate",
    ),
)
PRODUCTS = {product.rule: product for product in _PRODUCTS}
# {id of a figure: product that draws it}.
DRAWN_BY = {figure: product for product in _PRODUCTS for figure in product.figures}


def _tables_of(study: Study) -> list[int]:
    """Numbers of the paper's tables that a study has."""
    return list(catalogue.DOLA_TABLES) if DOLA in study.methods else []


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
        _tables_of(study),
        lambda: shown_files(study, registry),
    )


def shown_files(study: Study, registry: Registry) -> list[str]:
    """The files of every table and figure of a study, relative to its folder."""
    return [
        path
        for product in products_of(study, registry).values()
        if product.script == SHOWN
        for model in product.instances(study)
        for path in product.outputs(study, registry, model)
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
        path for each in shown for model in each.instances(study) for path in each.outputs(study, registry, model)
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


def pages(study: Study, registry: Registry, model: str | None = None) -> list[catalogue.Figure]:
    """Every picture of the study. model: of pictures per model, only this model's (it may be a wildcard)."""
    vectors = [[model] if model else study.models_of(method) for method in ("function_vectors", "task_vectors")]
    return catalogue.figures(
        vectors[0],
        study.tasks_of("function_vectors"),
        study.methods,
        study.lens_questions,
        registry.post_training(study.models_of("task_vectors")),
        vectors[1],
        [(name, steering(name).label, [model] if model else study.models_of(name)) for name in study.steering_methods],
    )


def pages_in(results: Results) -> list[catalogue.Figure]:
    """Every picture that can be drawn from a results folder, without those of `offcourse.steering`."""
    scopes = {method: results.scopes.get(method, NOTHING) for method in (FV, TV, LENS)}
    pairs = results.registry.post_training(scopes[TV][0])
    methods = [method for method in scopes if method in results.scopes]
    return catalogue.figures(*scopes[FV], methods, scopes[LENS][1], pairs, scopes[TV][0])


def products_of(study: Study, registry: Registry) -> dict[str, Product]:
    """The products that the study has, in the order in which they can run."""
    return {
        name: product
        for name, product in PRODUCTS.items()
        if (not product.methods or set(product.methods) & set(study.methods))
        and (not product.control or product.control in study.function_vectors.controls)
        and (name == "ro_crate" or any(product.outputs(study, registry, model) for model in product.instances(study)))
    }
