"""Products: what the workflow makes of the steps' results, and what each product reads.

A product is a table, a figure, model.json (a model's facts and self-checks), the report or the RO-Crate.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from offcourse import report
from offcourse.data.names import STEERING
from offcourse.data.registry import Registry
from offcourse.files import sha256
from offcourse.graph import catalogue
from offcourse.graph.keys import STEPS, checked_by, class_facts, dtype_of, steps_of
from offcourse.graph.step import HANDED
from offcourse.layout import Layout, picture_files
from offcourse.methods.check_model import CONFIRMED, DESCRIBED
from offcourse.steering import steering
from offcourse.study.config import Study
from offcourse.study.protocol import Protocol


@dataclass(frozen=True)
class Product:
    """A rule that is not a computing step: it makes a table, a figure, model.json, the report or the RO-Crate.

    target: "module:function" where the rule's code begins.
    methods: the rule runs when the study has one of these methods (empty: always), and shows their models and tasks.
    inputs: steps whose results the rule reads. tables_read: tables that it reads, where the study has them.
    switches: switches of `protocol` that the rule reads. settings: keys of its first method's section that it reads.
    tables, figures: numbers of the tables and names of the figures that the rule writes. files: its other files.
    per_model: whether the rule has one job per model, or one for the study.
    program: file name in workflow/scripts without .py; default: the rule's name.
    labels: {method of `offcourse.steering`: the name that readers see}.
    more_code: what the job hands to the rule's code, see `Step.targets`.
    """

    rule: str
    target: str
    methods: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    tables_read: tuple[int, ...] = ()
    switches: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    tables: tuple[int, ...] = ()
    figures: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    per_model: bool = False
    program: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    more_code: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Where the code of the rule begins: its own function, and what the job hands to it."""
        return (self.target, *self.more_code)

    @property
    def script(self) -> str:
        """Name of its script."""
        return self.program or self.rule

    def instances(self, study: Study) -> list[str | None]:
        """The models that it has jobs for; [None] for one job of the whole study."""
        return self.models(study) if self.per_model else [None]

    def models(self, study: Study, model: str | None = None) -> list[str]:
        """The models that it shows, those of its methods; of the job of one model only that one."""
        if model:
            return [model]
        return study.models_of(*self.methods) if self.methods else study.models

    def outputs(self, study: Study, registry: Registry, model: str | None) -> list[str]:
        """The files of one job, relative to the study's folder."""
        paths = [name.format(model=model) for name in self.files]
        if self.rule == "ro_crate":
            paths += [f"ro-crate/{name}" for name in crate_files(study, registry)]
        paths += [
            f"tables/table{number}{suffix}" for number in self.tables for suffix in (".parquet", ".csv", ".md", ".tex")
        ]
        for page in pages(study, registry, model):
            if page["figure"] in self.figures:
                paths += [path.as_posix() for path in picture_files(Path(page["svg"]).with_suffix(""))]
        return paths

    def upstream(self, study: Study, model: str | None) -> list[tuple[str, str, str]]:
        """The results that it reads, as (step, model, unit)."""
        wanted = [STEPS[step] for step in self.inputs if STEPS[step].runs_in(study)]
        return [
            (step.name, name, unit)
            for step in wanted
            for name in ([model] if model else study.models_of(*step.methods))
            for unit in step.units(study)
        ]

    def numbers_read(self, study: Study) -> list[int]:
        """The tables that it reads."""
        return [number for number in self.tables_read if number in catalogue.DOLA_TABLES and "dola" in study.methods]

    def parameters(self, study: Study, registry: Registry, model: str | None) -> dict[str, Any]:
        """The part of the configuration that one job reads, as plain JSON values."""
        # A method that is added to the package changes nothing for a study without it.
        absent = set(STEERING) - set(study.methods)
        if self.rule == "ro_crate":
            return study.model_dump(mode="json", exclude=absent)
        if self.rule == "report":
            said = {name: steering(name).question for name in study.steering_methods}
            return study.model_dump(mode="json", exclude={"resources", *absent}) | {
                "template": template(),
                "questions": said,
            }
        if self.rule == "check_model":
            step = checked_by(study, model)
            numerics = {"dtype": dtype_of(study, registry, model, step), "attention": study.numerics.attention}
            row = {
                name: getattr(registry.model(model), name)
                for name in ("name", "label", "architecture", *CONFIRMED, *DESCRIBED)
            }
            return numerics | {"row": row, "methods": study.methods_of(model), "class": class_facts(registry, model)}
        if not self.methods:
            return {}
        settings = getattr(study, self.methods[0]).model_dump(mode="json", include=set(self.settings))
        settings |= {name: label for name, label in self.labels.items() if name in study.methods}
        return settings | study.protocol.model_dump(include=set(self.switches))


def _shown(rule: str, module: str, *methods: str, function: str = "draw", **more: Any) -> Product:
    return Product(rule, f"offcourse.{module}:{function}", methods, **more)


# Of the methods of `offcourse.steering`: their sweeps, and how they are shown.
SWEPT = tuple(f"{name}_sweep" for name in STEERING)
LABELS = {name: steering(name).label for name in STEERING}
PRODUCTS = {
    product.rule: product
    for product in (
        Product(
            "check_model",
            "offcourse.methods.check_model:check_model",
            files=("{model}/model.json",),
            per_model=True,
            more_code=HANDED["model and tokenizer"],
        ),
        _shown(
            "table3",
            "tables.table3",
            "function_vectors",
            "task_vectors",
            function="table3",
            inputs=("icl", "fv_sweep", "tv_icl", "tv_sweep"),
            switches=("default_heads", "tv_denominator", "tv_direction", "tv_score", "selection"),
            settings=("n_heads", "large"),
            tables=(3,),
        ),
        _shown(
            "tables_dola",
            "tables.dola",
            "dola",
            function="write",
            inputs=("dola",),
            switches=("dola_mask", "ties", "score_dtype", "selection"),
            tables=(1, 2, 4, 5, 6, 7, 8, 9, 10),
        ),
        _shown(
            "certainty",
            "tables.certainty",
            "function_vectors",
            "task_vectors",
            "dola",
            function="write",
            inputs=("icl", "fv_sweep", "fv_controls", *SWEPT, "tv_icl", "tv_sweep", "dola"),
            switches=("dola_mask", "ties", "score_dtype"),
            settings=("controls",),
            labels=LABELS,
            files=("tables/certainty.parquet", "tables/certainty.csv", "tables/certainty.md"),
        ),
        _shown(
            "figure_sweep",
            "figures.sweep",
            "function_vectors",
            inputs=("icl", "fv_sweep", "fv_controls"),
            settings=("controls",),
            figures=("figure17",),
            per_model=True,
        ),
        _shown(
            "figure_overview",
            "figures.overview",
            "function_vectors",
            "task_vectors",
            "logit_lens",
            inputs=("icl", "fv_sweep", "tv_icl", "tv_sweep", "logit_lens"),
            figures=("figure1",),
        ),
        _shown(
            "figure_recovery",
            "figures.recovery",
            "function_vectors",
            "task_vectors",
            inputs=("icl", "fv_sweep", "fv_controls", "tv_icl", "tv_sweep"),
            settings=("controls",),
            switches=("default_heads", "tv_average", "tv_direction"),
            figures=("figure3",),
        ),
        _shown("figure_heads", "figures.heads", "function_vectors", inputs=("icl", "fv_sweep"), figures=("figure5",)),
        _shown("figure_cie", "figures.cie", "function_vectors", inputs=("cie",), figures=("figure9",), per_model=True),
        _shown("figure_shots", "figures.shots", "function_vectors", inputs=("icl",), figures=("figure11",)),
        _shown(
            "figure_choices",
            "figures.choices",
            "function_vectors",
            inputs=("icl", "fv_sweep"),
            figures=("figure13", "figure14", "figure15"),
        ),
        _shown(
            "figure_task_vectors",
            "figures.task_vectors",
            "task_vectors",
            inputs=("tv_icl", "tv_sweep"),
            figures=("figure18",),
            per_model=True,
        ),
        _shown(
            "figure_post_training",
            "figures.post_training",
            "task_vectors",
            inputs=("tv_icl", "tv_sweep"),
            switches=("tv_direction",),
            figures=("figure16",),
        ),
        _shown("figure_lens", "figures.lens", "logit_lens", inputs=("logit_lens",), figures=("figure2",)),
        _shown("figure_apathy", "figures.apathy", "logit_lens", inputs=("logit_lens", "apathy"), figures=("figure8",)),
        Product(
            "steering_summary",
            "offcourse.tables.steering_summary:write",
            ("function_vectors", "task_vectors", "dola"),
            inputs=("icl", "fv_sweep", "tv_icl", "tv_sweep"),
            tables_read=(1, 2),
            files=("tables/steering_summary.parquet", "tables/steering_summary.csv", "tables/steering_summary.md"),
        ),
        Product(
            "sensitivity",
            "offcourse.tables.sensitivity:write",
            ("function_vectors", "task_vectors", "dola"),
            inputs=("icl", "fv_sweep", "fv_controls", "tv_icl", "tv_sweep", "dola"),
            switches=tuple(Protocol.model_fields),
            settings=("controls",),
            files=("tables/sensitivity.parquet", "tables/sensitivity.csv", "tables/sensitivity.md"),
        ),
        _shown(
            "table_methods",
            "tables.methods",
            *STEERING,
            function="write",
            inputs=("icl", "fv_sweep", *SWEPT),
            switches=("selection",),
            files=tuple(f"tables/table_methods{suffix}" for suffix in (".parquet", ".csv", ".md", ".tex")),
            labels=LABELS,
        ),
        *(
            _shown(
                f"figure_{name}",
                "figures.steering",
                name,
                inputs=("icl", f"{name}_sweep"),
                figures=(f"figure_{name}",),
                per_model=True,
                program="figure_steering",
                labels={name: steering(name).label},
            )
            for name in STEERING
        ),
        _shown("tables_facts", "tables.model_facts", function="write", tables=(11, 12)),
        _shown("report", "report.page", function="write", files=("report.html",)),
        Product("ro_crate", "offcourse.provenance.crate:write_crate", files=("ro-crate/ro-crate-metadata.json",)),
    )
}


def template() -> str:
    """Digest of the report's templates, which are no Python, so that the code's digests do not see them."""
    folder = Path(report.__file__).parent
    return " ".join(sha256(folder / name)[:16] for name in catalogue.TEMPLATES)


WORKFLOW, CONFIGURATION, REPORT = "Snakefile", "study.yaml", "report.html"


def crate_files(study: Study, registry: Registry) -> list[str]:
    """What the study's RO-Crate holds beside its metadata."""
    shown = [product for name, product in products_of(study, registry).items() if name != "ro_crate"]
    outputs = [
        path for each in shown for model in each.instances(study) for path in each.outputs(study, registry, model)
    ]
    layout = Layout(study.study)
    records = [path.relative_to(layout.results).as_posix() for path in records_of(study, registry, layout)]
    return [WORKFLOW, CONFIGURATION, *outputs, *records]


def records_of(study: Study, registry: Registry, layout: Layout) -> list[Path]:
    """The record of every job but the RO-Crate's, which is made from them."""
    steps = [
        layout.record(name, model, unit)
        for name, step in steps_of(study).items()
        for model in study.models_of(*step.methods)
        for unit in step.units(study)
    ]
    shown = [product for name, product in products_of(study, registry).items() if name != "ro_crate"]
    return steps + [layout.rule_record(each.rule, model) for each in shown for model in each.instances(study)]


def pages(study: Study, registry: Registry, model: str | None = None) -> list[catalogue.Figure]:
    """Every picture of the study; those that have a model each only of `model`, if given (it may be a wildcard)."""
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


def products_of(study: Study, registry: Registry) -> dict[str, Product]:
    """The products that the study has, in the order in which they can run."""
    return {
        name: product
        for name, product in PRODUCTS.items()
        if (not product.methods or set(product.methods) & set(study.methods))
        and (name == "ro_crate" or any(product.outputs(study, registry, model) for model in product.instances(study)))
    }
