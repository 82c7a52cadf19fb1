# Paths, resources, and the study that the configuration describes. No rule, no science.
import sys
from pathlib import Path

from offcourse.artefacts import sha256
from offcourse.errors import OffcourseError
from offcourse.jobs.steps import STEPS, rule_params, steps_of
from offcourse.jobs.steps import release_lists as list_files
from offcourse.jobs.steps import release_questions as question_files
from offcourse.layout import Layout
from offcourse.present import contents
from offcourse.registry import Registry
from offcourse.release import release_path
from offcourse.store.fingerprint import fingerprint
from offcourse.study.config import load_study

try:
    STUDY = load_study(config, where=", ".join(map(str, workflow.configfiles)))
    REGISTRY = Registry.load()
    STUDY.check(REGISTRY)
except OffcourseError as error:
    sys.exit(f"offcourse: {error}")

LAYOUT = Layout(STUDY.study)
RESULTS = LAYOUT.results
CHECKOUT = Path(workflow.basedir)


wildcard_constraints:
    model="|".join(STUDY.models),
    task="|".join(STUDY.tasks),


def shards(step, model="{model}", reader=None):
    """The results of a step, one file per task or question set; only those that the step `reader` reads, if given."""
    units = STEPS[reader or step].units(STUDY)
    return [LAYOUT.artefact(step, STEPS[step].suffix, model, unit) for unit in units]


def records(step):
    """The records beside them."""
    return [LAYOUT.record(step, "{model}", unit) for unit in STEPS[step].units(STUDY)]


def of_every_model(step):
    """The results of a step for every model that it runs on."""
    return [path for model in STUDY.models_of(*STEPS[step].methods) for path in shards(step, model)]


def reads(step, key):
    """One entry of what a step depends on, as a `params` function of the model."""
    return lambda wildcards: rule_params(STEPS[step], STUDY, REGISTRY, wildcards.model).get(key, "")


def threads():
    """Threads of a job that computes. `auto` shares the cores between the models, whose jobs run side by side."""
    if STUDY.numerics.threads != "auto":
        return STUDY.numerics.threads
    return max(1, (workflow.cores or 1) // len(STUDY.models))


def job_log(step):
    """Log of one step of one model."""
    return f"results/{STUDY.study}/logs/{step}/{{model}}.log"


def manifests():
    """Every prepared model of the study."""
    return [LAYOUT.model_folder(model) / "manifest.json" for model in STUDY.models]


def release_lists():
    """The authors' word lists, when the study asks for them."""
    return [release_path(spec, LAYOUT.downloads) for spec in list_files(STUDY, REGISTRY)]


def release_questions():
    """The authors' question files that the study reads."""
    return [release_path(spec, LAYOUT.downloads) for spec in question_files(STUDY, REGISTRY)]


def figures(model=None):
    """Every picture of the study; with a name (or wildcard) in place of its models, those of one model."""
    vectors = [[model] if model else STUDY.models_of(method) for method in ("function_vectors", "task_vectors")]
    post_training = REGISTRY.post_training(STUDY.models_of("task_vectors"))
    tasks = STUDY.tasks_of("function_vectors")
    return contents.figures(vectors[0], tasks, STUDY.methods, STUDY.lens_questions, post_training, vectors[1])


def tables(*numbers):
    """The files of some tables."""
    return [
        RESULTS / f"tables/table{number}{suffix}"
        for number in numbers
        for suffix in (".parquet", ".csv", ".md", ".tex")
    ]


def runs(method):
    """Whether the study runs a method."""
    return method in STUDY.methods


def pictures(*numbers, model=None):
    """SVG, PNG and numbers of some figures; with `model="{model}"` the model stays a wildcard."""
    pages = [page for page in figures(model) if page["figure"] in numbers]
    stems = [Path(page["svg"]).with_suffix("") for page in pages]
    return [RESULTS / f"{stem}{suffix}" for stem in stems for suffix in (".svg", ".png", ".parquet")]


def presented():
    """Every table and figure."""
    shown = [RESULTS / table["parquet"] for table in contents.tables(STUDY.methods)]
    return shown + pictures(*{page["figure"] for page in figures()})


def everything():
    """Every result of every step, and every table and figure."""
    return [path for step in steps_of(STUDY) for path in of_every_model(step)] + presented()


def report_template():
    """The report is no Python alone."""
    return CHECKOUT / "src" / "offcourse" / "present" / "report.html.j2"


def facts():
    """`model.json` of every model."""
    return [RESULTS / model / "model.json" for model in STUDY.models]
