"""The products of a study: one declaration for each table, figure, `model.json`, the report and the RO-Crate."""

from typing import Any

from offcourse.data.names import STEERING
from offcourse.data.registry import Registry
from offcourse.graph import catalogue
from offcourse.graph.product import Product, table_name
from offcourse.graph.step import HANDED
from offcourse.graph.steps import PARTS, STEPS
from offcourse.schemas.function_vectors import READ_POSITION
from offcourse.steering import steering
from offcourse.study.config import Study
from offcourse.study.protocol import Protocol

# Tables that have no LaTeX form.
PLAIN = ("parquet", "csv", "md")
# Steps of the sweeps of `offcourse.steering`'s methods.
SWEPT = tuple(f"{name}_sweep" for name in STEERING)
# Their side effects, draws and controls; a method that changes the prompt has side effects alone.
JUDGED = tuple(step for name in STEERING for part in PARTS if (step := f"{name}_{part}") in STEPS and step not in SWEPT)
# Steering methods that run on question sets, and the steps that score answers under them.
ASKING = tuple(name for name in STEERING if steering(name).on_questions)
ANSWERED = tuple(f"{name}_answers" for name in ASKING)
LABELS = {name: steering(name).label for name in STEERING}
FV, TV, DOLA, LENS = "function_vectors", "task_vectors", "dola", "logit_lens"
VIEW, DRAW = "offcourse.analysis.view:ResultsView", "offcourse.figures.style:draw"
# By these the rules of claims tell models apart, sort them by size and group them.
OF_MODELS = ("models.family", "models.repo", "models.tokens", "models.parameters")
GROUP, FORM, BASE, LABEL = "tasks.group", "questions.form", "models.base", "models.label"
ASKED = "questions.label"


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
        inputs=("icl", "cie", "fv_sweep", "fv_controls", *SWEPT, "tv_icl", "tv_sweep", "dola"),
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
        columns=(LABEL, ASKED),
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
    _figure("figure_lens", "lens", LENS, inputs=("logit_lens",), columns=(LABEL, ASKED), figures=("figure2",)),
    _figure(
        "figure_apathy", "apathy", LENS, inputs=("logit_lens", "apathy"), columns=(LABEL, ASKED), figures=("figure8",)
    ),
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
        FV,
        TV,
        *STEERING,
        inputs=("icl", "fv_sweep", "tv_icl", "tv_sweep", *SWEPT),
        needs=SWEPT,
        columns=(GROUP,),
        switches=("tv_denominator", "tv_direction", "tv_score", "selection"),
        tables=("table_methods",),
        labels=LABELS,
    ),
    _plain_table("verdicts", "verdicts", *STEERING, inputs=("icl", *SWEPT, *JUDGED), labels=LABELS),
    # A study with prompting asks how its methods compare with it; others have steering_summary alone.
    _plain_table(
        "verdicts_function_vectors",
        "verdicts_function_vectors",
        FV,
        inputs=("icl", "fv_sweep", "fv_controls", "prompting_sweep"),
        needs=("prompting_sweep",),
    ),
    _plain_table(
        "verdicts_task_vectors",
        "verdicts_task_vectors",
        TV,
        inputs=("tv_icl", "tv_sweep"),
        needs=("prompting_sweep",),
    ),
    _figure(
        "figure_gain_harm",
        "gain_harm",
        *STEERING,
        inputs=("icl", *SWEPT, *JUDGED),
        columns=(LABEL,),
        figures=("figure_gain_harm",),
        labels=LABELS,
    ),
    _table(
        "table_methods_questions",
        "methods_questions",
        DOLA,
        *ASKING,
        inputs=("dola", *ANSWERED),
        needs=ANSWERED,
        columns=(FORM,),
        switches=("dola_mask", "ties", "score_dtype", "selection"),
        tables=("table_methods_questions",),
        labels={name: steering(name).label for name in ASKING},
        asked=True,
    ),
    _plain_table(
        "verdicts_questions",
        "verdicts_questions",
        DOLA,
        *ASKING,
        inputs=("dola", *ANSWERED),
        needs=ANSWERED,
        columns=(FORM,),
        switches=("dola_mask", "ties", "score_dtype"),
        labels={name: steering(name).label for name in ASKING},
        asked=True,
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
        columns=(BASE, LABEL, "questions.label", *OF_MODELS),
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


def products_of(study: Study, registry: Registry) -> dict[str, Product]:
    """The products that the study has, in the order in which they can run."""
    return {
        name: product
        for name, product in PRODUCTS.items()
        if (not product.methods or set(product.methods) & set(study.methods))
        and (not product.inputs or any(STEPS[step].runs_in(study) for step in product.needs or product.inputs))
        and (not product.control or product.control in study.function_vectors.controls)
        and (name == "ro_crate" or any(product.own_files(study, registry, model) for model in product.instances(study)))
    }


def tables_of(study: Study, registry: Registry) -> list[catalogue.Table]:
    """The tables of a study, in the report's order."""
    made = {table_name(table) for product in products_of(study, registry).values() for table in product.tables}
    return [table for table in catalogue.tables(study.methods) if table["id"] in made]
