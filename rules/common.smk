# Reads and checks the study, and has functions for the paths, inputs and `params` of all rules. No rule.
import importlib.util
import json
import sys
from pathlib import Path

# One checkout, one package: keys hold digests of the package's modules and of the scripts beside it, so another
# package than this checkout's would be recorded as the code that ran. Nothing of it is imported before this is known.
CHECKOUT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).resolve().parent
FOUND = importlib.util.find_spec("offcourse")
PACKAGE = Path(FOUND.origin).resolve().parent if FOUND and FOUND.origin else None
if PACKAGE != CHECKOUT / "src" / "offcourse":
    sys.exit(
        f"offcourse: this is the workflow of {CHECKOUT}, but {sys.executable} "
        + (f"imports the package from {PACKAGE}" if PACKAGE else "has no package offcourse")
        + f". Use the checkout's own: `make install` in {CHECKOUT}, and then its .venv/bin/snakemake (or `pip install "
        f"--no-deps --editable {CHECKOUT}` into this environment)."
    )

from offcourse.archive import packed
from offcourse.files import sha256
from offcourse.errors import OffcourseError
from offcourse.graph.products import PRODUCTS, products_of, records_of
from offcourse.run.repair import repair
from offcourse.graph.keys import STEPS, rule_params, steps_of
from offcourse.graph.keys import release_lists as list_files
from offcourse.graph.keys import release_questions as question_files
from offcourse.layout import Layout
from offcourse.provenance.records import read_record
from offcourse.data.names import STEERING
from offcourse.data.registry import Registry
from offcourse.data.release_files import release_path
from offcourse.store.fingerprint import fingerprint, script_digest
from offcourse.study.config import load_study
from offcourse.study.yaml_file import read_yaml

# Whether the authors' results are converted from their own files (`make published ORIGINAL=1`). It is about no study.
ORIGINAL = str(config.pop("original", "")).lower() in ("1", "true", "yes")

try:
    # Snakemake takes the last of two equal keys without a word.
    for path in workflow.configfiles:
        read_yaml(path)
    STUDY = load_study(config, where=", ".join(map(str, workflow.configfiles)))
    REGISTRY = Registry.load()
    STUDY.check(REGISTRY)
except OffcourseError as error:
    sys.exit(f"offcourse: {error}")

LAYOUT = Layout(STUDY.study)
RESULTS = LAYOUT.results


wildcard_constraints:
    model="|".join(STUDY.models),
    task="|".join(STUDY.tasks),


def each(step, path):
    """A path below the study's results for every task or question set of a step, which `{task}` or `{questions}` names."""
    unit = "{questions}" if STEPS[step].on_questions else "{task}"
    return [RESULTS / path.replace(unit, name) for name in STEPS[step].units(STUDY)]


def of_every_model(step):
    """The results of a step for every model that it runs on."""
    units, models = STEPS[step].units(STUDY), STUDY.models_of(*STEPS[step].methods)
    return [LAYOUT.artefact(step, STEPS[step].suffix, model, unit) for model in models for unit in units]


def record(rule, model=None):
    """The record of a job that is no step."""
    return LAYOUT.rule_record(rule, model)


def code(rule):
    """Digest of the rule's script and of every module behind it, as a `params` function.

    Snakemake calls the function for jobs of the plan only, so a rule that does not run costs no digest.
    """
    return lambda wildcards: f"{fingerprint(*PRODUCTS[rule].targets)} {script_digest(PRODUCTS[rule].script)}"


def reads(step, key):
    """One entry of what a step depends on, as a `params` function of the model."""
    script = f" {script_digest(STEPS[step].script)}" if key == "code" else ""
    return lambda wildcards: rule_params(STEPS[step], STUDY, REGISTRY, wildcards.model).get(key, "") + script


def waited_for(wildcards):
    """Prepared models that a model's check waits for: all models of the study, so that a model that cannot be fetched
    stops the run before anything is computed. A model that was checked before waits for the models of that time, so
    that adding a model to the study does not check it again.
    """
    paths = [LAYOUT.model_folder(model) / "manifest.json" for model in STUDY.models]
    made = record("check_model", wildcards.model)
    if made.exists():
        try:
            before = [Path(path) for path in read_record(made)["inputs"]]
        except OffcourseError:
            return paths
        if all(path.exists() for path in before):
            return before
    return paths


def results_of_study(wildcards):
    """Every result of the study. Damaged ones are first copied from the store, or made again if the copy is damaged too."""
    if workflow.is_main_process and workflow.executor_plugin is not None:
        # Lock before repairing, since a file that another run is writing looks damaged.
        if not workflow.dryrun:
            lock()
        damaged = repair(STUDY, REGISTRY, LAYOUT, change=not workflow.dryrun)
        # Snakemake takes an existing file for intact; there is no public way to mark a file as damaged here.
        workflow.dag.forcefiles.update(map(str, damaged))
    return everything()


def release_lists():
    """The authors' word lists, when the study asks for them."""
    return [release_path(spec, LAYOUT.downloads) for spec in list_files(STUDY, REGISTRY)]


def release_questions():
    """The authors' question files that the study reads."""
    return [release_path(spec, LAYOUT.downloads) for spec in question_files(STUDY, REGISTRY)]


def drawn(rule, model=None):
    """The files of a product. model: of a product per model; "{model}" keeps the wildcard."""
    return [RESULTS / path for path in PRODUCTS[rule].outputs(STUDY, REGISTRY, model)]


# Types of files that `snakemake --report` shows; the other files of a table or figure hold the same numbers.
REPORTED = (".svg", ".csv", ".html")


def shown(rule, model=None):
    """The files of a table or figure, with a caption and a category for `snakemake --report`."""
    return [reported(rule, path) if path.suffix in REPORTED else path for path in drawn(rule, model)]


def reported(rule, path):
    """One file marked for `snakemake --report`, with its category (tables or figures), name, model and task."""
    _, name, *page = *path.relative_to(RESULTS).with_suffix("").parts, "report"
    category = {".svg": "Figures", ".csv": "Tables"}.get(path.suffix, "Report")
    return report(
        path,
        caption=f"../workflow/report/{PRODUCTS[rule].caption or rule}.rst",
        category=category,
        labels={"name": name, "page": " ".join(page[:-1]) or "all"},
    )


def read_by(rule, model=None):
    """The files that a product reads: results of steps, other tables, and `model.json` of its models."""
    results = [
        LAYOUT.artefact(step, STEPS[step].suffix, name, unit)
        for step, name, unit in PRODUCTS[rule].upstream(STUDY, model)
    ]
    results += [RESULTS / f"tables/table{number}.parquet" for number in PRODUCTS[rule].numbers_read(STUDY)]
    return results + [RESULTS / name / "model.json" for name in PRODUCTS[rule].models(STUDY, model)]


def settings(rule):
    """Everything that a product reads beside files of results, as a `params` function."""
    product = PRODUCTS[rule]
    return lambda wildcards: json.dumps(product.parameters(STUDY, REGISTRY, wildcards.get("model")), sort_keys=True)


# Products that are neither table nor figure.
UNSHOWN = ("check_model", "report", "ro_crate")


def presented():
    """Every table and figure."""
    products = [product for name, product in products_of(STUDY, REGISTRY).items() if name not in UNSHOWN]
    return [path for product in products for model in product.instances(STUDY) for path in drawn(product.rule, model)]


def everything():
    """Every result of every step, and every table and figure."""
    return [path for step in steps_of(STUDY) for path in of_every_model(step)] + presented()


def model_files():
    """`model.json` of every model."""
    return [RESULTS / model / "model.json" for model in STUDY.models]
