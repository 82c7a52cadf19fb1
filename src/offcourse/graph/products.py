"""The rules that make no result of a step: facts of models, tables, figures and the report; what each reads."""

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
from offcourse.layout import Layout, picture_files
from offcourse.methods.check_model import CONFIRMED, DESCRIBED
from offcourse.steering import steering
from offcourse.study.config import Study
from offcourse.study.protocol import Protocol


@dataclass(frozen=True)
class Drawing:
    """One such rule.

    target: "module:function" where its code begins.
    methods: it runs when the study has one of them (empty: always), and shows their models and tasks.
    inputs: steps that it reads. tables_read: tables that it reads, where the study has them.
    switches: those of `protocol` that it reads. settings: those of its first method that it reads.
    tables, figures: what it writes. files: other files that it writes.
    per_model: whether there is a job for each model.
    program: its script, when that is not called like it.
    labels: of methods of `offcourse.steering`, as it shows them.
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


def _drawn(rule: str, module: str, *methods: str, function: str = "draw", **more: Any) -> Drawing:
    return Drawing(rule, f"offcourse.{module}:{function}", methods, **more)


# Of the methods of `offcourse.steering`: their sweeps, and how they are shown.
SWEPT = tuple(f"{name}_sweep" for name in STEERING)
LABELS = {name: steering(name).label for name in STEERING}
DRAWINGS = {
    drawing.rule: drawing
    for drawing in (
        Drawing(
            "check_model", "offcourse.methods.check_model:write_facts", files=("{model}/model.json",), per_model=True
        ),
        _drawn(
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
        _drawn(
            "tables_dola",
            "tables.dola",
            "dola",
            function="write",
            inputs=("dola",),
            switches=("dola_mask", "ties", "score_dtype", "selection"),
            tables=(1, 2, 4, 5, 6, 7, 8, 9, 10),
        ),
        _drawn(
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
        _drawn(
            "figure_sweep",
            "figures.sweep",
            "function_vectors",
            inputs=("icl", "fv_sweep", "fv_controls"),
            settings=("controls",),
            figures=("figure17",),
            per_model=True,
        ),
        _drawn(
            "figure_overview",
            "figures.overview",
            "function_vectors",
            "task_vectors",
            "logit_lens",
            inputs=("icl", "fv_sweep", "tv_icl", "tv_sweep", "logit_lens"),
            figures=("figure1",),
        ),
        _drawn(
            "figure_recovery",
            "figures.recovery",
            "function_vectors",
            "task_vectors",
            inputs=("icl", "fv_sweep", "fv_controls", "tv_icl", "tv_sweep"),
            settings=("controls",),
            switches=("default_heads", "tv_average", "tv_direction"),
            figures=("figure3",),
        ),
        _drawn("figure_heads", "figures.heads", "function_vectors", inputs=("icl", "fv_sweep"), figures=("figure5",)),
        _drawn("figure_cie", "figures.cie", "function_vectors", inputs=("cie",), figures=("figure9",), per_model=True),
        _drawn("figure_shots", "figures.shots", "function_vectors", inputs=("icl",), figures=("figure11",)),
        _drawn(
            "figure_choices",
            "figures.choices",
            "function_vectors",
            inputs=("icl", "fv_sweep"),
            figures=("figure13", "figure14", "figure15"),
        ),
        _drawn(
            "figure_task_vectors",
            "figures.task_vectors",
            "task_vectors",
            inputs=("tv_icl", "tv_sweep"),
            figures=("figure18",),
            per_model=True,
        ),
        _drawn(
            "figure_post_training",
            "figures.post_training",
            "task_vectors",
            inputs=("tv_icl", "tv_sweep"),
            switches=("tv_direction",),
            figures=("figure16",),
        ),
        _drawn("figure_lens", "figures.lens", "logit_lens", inputs=("logit_lens",), figures=("figure2",)),
        _drawn("figure_apathy", "figures.apathy", "logit_lens", inputs=("logit_lens", "apathy"), figures=("figure8",)),
        Drawing(
            "steering",
            "offcourse.tables.steering:write",
            ("function_vectors", "task_vectors", "dola"),
            inputs=("icl", "fv_sweep", "tv_icl", "tv_sweep"),
            tables_read=(1, 2),
            files=("tables/steering.parquet", "tables/steering.csv", "tables/steering.md"),
        ),
        Drawing(
            "sensitivity",
            "offcourse.tables.sensitivity:write",
            ("function_vectors", "task_vectors", "dola"),
            inputs=("icl", "fv_sweep", "fv_controls", "tv_icl", "tv_sweep", "dola"),
            switches=tuple(Protocol.model_fields),
            settings=("controls",),
            files=("tables/sensitivity.parquet", "tables/sensitivity.csv", "tables/sensitivity.md"),
        ),
        _drawn(
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
            _drawn(
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
        _drawn("tables_facts", "tables.facts", function="write", tables=(11, 12)),
        _drawn("report", "report.page", function="write", files=("report.html",)),
        Drawing("ro_crate", "offcourse.provenance.crate:write_crate", files=("ro-crate/ro-crate-metadata.json",)),
    )
}


def template() -> str:
    """Digest of the report's templates, which are no Python, so that the code's digests do not see them."""
    folder = Path(report.__file__).parent
    return " ".join(sha256(folder / name)[:16] for name in catalogue.TEMPLATES)


WORKFLOW, CONFIGURATION, REPORT = "Snakefile", "study.yaml", "report.html"


def crate_files(study: Study, registry: Registry) -> list[str]:
    """What the study's RO-Crate holds beside its metadata."""
    shown = [drawing for name, drawing in drawings_of(study, registry).items() if name != "ro_crate"]
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
    shown = [drawing for name, drawing in drawings_of(study, registry).items() if name != "ro_crate"]
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


def drawings_of(study: Study, registry: Registry) -> dict[str, Drawing]:
    """The drawings that the study has, in the order in which they can run."""
    return {
        name: drawing
        for name, drawing in DRAWINGS.items()
        if (not drawing.methods or set(drawing.methods) & set(study.methods))
        and (name == "ro_crate" or any(drawing.outputs(study, registry, model) for model in drawing.instances(study)))
    }
