"""A product: a rule that makes `model.json`, a table, a figure, the report or the RO-Crate, and what the rule reads."""

from dataclasses import dataclass
from pathlib import Path

from offcourse.analysis.view import Declaration, Results, ResultsView
from offcourse.data.names import STEERING
from offcourse.data.registry import Registry
from offcourse.graph import catalogue
from offcourse.graph.keys import STEPS
from offcourse.layout import picture_files
from offcourse.steering import steering
from offcourse.study.config import Study
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
    needs: the rule runs if the study has one of these steps (empty: one of `inputs`).
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
    needs: tuple[str, ...] = ()
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

    def own_files(self, study: Study, registry: Registry, model: str | None) -> list[str]:
        """The files of one job that the declaration names, relative to the study's folder; no copies of others."""
        paths = [name.format(model=model) for name in self.files] + self.table_files
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
        return [number for number in self.tables_read if number in dola_tables(study)]

    def view(self, results: Results, model: str | None = None) -> ResultsView:
        """The view of a results folder that the product's code is given."""
        return ResultsView(self, results, model)


def table_name(table: int | str) -> str:
    """The stem of a table's files. table: a number for the paper's tables, else a name."""
    return f"table{table}" if isinstance(table, int) else table


def dola_tables(study: Study) -> list[int]:
    """Numbers of the paper's tables that a study has."""
    return list(catalogue.DOLA_TABLES) if "dola" in study.methods else []


def pages(study: Study, registry: Registry, model: str | None = None) -> list[catalogue.Figure]:
    """Every picture of the study. model: of pictures per model, only this model's (it may be a wildcard)."""
    vectors = [[model] if model else study.models_of(method) for method in ("function_vectors", "task_vectors")]
    return catalogue.figures(
        vectors[0],
        study.tasks_of("function_vectors"),
        # Without tasks, steering methods have no figure.
        [name for name in study.methods if study.tasks or name not in STEERING],
        study.lens_questions,
        registry.post_training(study.models_of("task_vectors")),
        vectors[1],
        [
            (name, steering(name).label, [model] if model else study.models_of(name))
            for name in study.steering_methods
            if study.tasks
        ],
    )
