# Paths, and the study that the configuration describes. No rule, no science.
import sys
from pathlib import Path

from offcourse.artefacts import sha256
from offcourse.errors import OffcourseError
from offcourse.jobs.steps import STEPS, rule_params
from offcourse.layout import Layout
from offcourse.present import contents
from offcourse.registry import Registry
from offcourse.store.fingerprint import fingerprint
from offcourse.study.config import load_study
from offcourse.tasks import release_path

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


def shards(step, model="{model}"):
    """The results of a step, one file per task."""
    return [LAYOUT.artefact(step, STEPS[step].suffix, model, task) for task in STUDY.tasks]


def records(step):
    """The records beside them."""
    return [LAYOUT.record(step, "{model}", task) for task in STUDY.tasks]


def of_every_model(step):
    """The results of a step for the whole study."""
    return [path for model in STUDY.models for path in shards(step, model)]


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
