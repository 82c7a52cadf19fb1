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
from offcourse.audit.repair import heal
from offcourse.files import sha256
from offcourse.errors import OffcourseError
from offcourse.graph.products import PRODUCTS, products_of
from offcourse.graph.study_files import job_outputs, job_parameters, records_of
from offcourse.graph.keys import STEPS, rule_params, steps_of
from offcourse.graph.keys import release_lists as list_files, release_questions as question_files
from offcourse.layout import Layout
from offcourse.provenance.records import read_record
from offcourse.data.names import STEERING
from offcourse.data.registry import Registry
from offcourse.store.fingerprint import fingerprint, require_packages, script_digest
from offcourse.study.check import check_study, unpinned
from offcourse.study.config import load_study
from offcourse.study.yaml_file import read_yaml

# Whether the authors' results are converted from their own files (`make published ORIGINAL=1`). It is about no study.
ORIGINAL = str(config.pop("original", "")).lower() in ("1", "true", "yes")

try:
    require_packages()
    # Snakemake takes the last of two equal keys without a word.
    for path in workflow.configfiles:
        read_yaml(path)
    STUDY = load_study(config, where=", ".join(map(str, workflow.configfiles)))
    REGISTRY = Registry.load()
    # Before jobs are submitted to a cluster, models that are not pinned are said with all else that is missing.
    check_study(STUDY, REGISTRY, pinned=not (workflow.is_main_process and workflow.resource_settings.nodes is not None))
except OffcourseError as error:
    sys.exit(f"offcourse: {error}")

# Rules say where files are below the working folder. A module's `prefix` is put before that by Snakemake; code of this
# file that looks at files itself uses THERE.
LAYOUT = Layout(STUDY.study)
RESULTS = LAYOUT.results
PLACED = [Path(workflow.modifier.path_modifier.replace_prefix(f"{name}/x")) for name in ("results", "resources")]
if [path.parent.name for path in PLACED] != ["results", "resources"] or PLACED[0].parents[1] != PLACED[1].parents[1]:
    sys.exit("offcourse: as a module this workflow takes a prefix for its paths, and no replace_prefix.")
THERE = Layout(STUDY.study, PLACED[0].parents[1])
MENDED = []


wildcard_constraints:
    model="|".join(STUDY.models),
    # A study without tasks has no file with this wildcard; an empty pattern would fit every name.
    task="|".join(STUDY.tasks) or "none",


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
    """Prepared models that a model's check waits for: every one of the study, so that one that cannot be had stops the
    run before anything is computed. A model that was checked waits for the same ones as then: a model that is added
    to the study, or prepared anew, is no reason to check another one again.
    """
    own = LAYOUT.receipt(wildcards.model)
    paths = [LAYOUT.receipt(model) for model in STUDY.models]
    made = THERE.rule_record("check_model", wildcards.model)
    if made.exists():
        try:
            before = [Path(path) for path in read_record(made)["waited_for"]]
        except (OffcourseError, KeyError):
            before = []
        if own in before and all((THERE.base / path).exists() for path in before):
            paths = before
    return [path if path == own else ancient(str(path)) for path in paths]


def mended(wildcards):
    """Once in a run, before it is planned: what another run left is swept away, a damaged result is copied from the
    store, and what is not intact otherwise is planned to be made again.
    """
    if not MENDED and workflow.is_main_process and workflow.executor_plugin is not None:
        MENDED.append(True)
        # Before anything is repaired: what another run is about to write looks damaged.
        if not workflow.dryrun:
            lock()
        elif REMOTE:
            stop_for([*unpinned(STUDY, REGISTRY), *SIZES.problems()])
        # Snakemake takes a file for what it should be if it is there; there is no public way to say otherwise here.
        workflow.dag.forcefiles.update(map(str, heal(STUDY, REGISTRY, THERE, change=not workflow.dryrun)))
    return []


def release_lists():
    """What says that the authors' word lists are there, when the study asks for them."""
    return [LAYOUT.fetched("fetch_words")] if list_files(STUDY, REGISTRY) else []


def release_questions():
    """What says that the authors' question files are there, when the study reads any."""
    return [LAYOUT.fetched("fetch_questions")] if question_files(STUDY, REGISTRY) else []


def drawn(rule, model=None):
    """The files of a product. model: of a product per model; "{model}" keeps the wildcard."""
    return [RESULTS / path for path in job_outputs(PRODUCTS[rule], STUDY, REGISTRY, model)]


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
    return lambda wildcards: json.dumps(
        job_parameters(product, STUDY, REGISTRY, wildcards.get("model")), sort_keys=True
    )


# Products that are neither table nor figure.
UNSHOWN = ("check_model", "report", "ro_crate")


def presented():
    """Every table and figure."""
    products = [product for name, product in products_of(STUDY, REGISTRY).items() if name not in UNSHOWN]
    return [path for product in products for model in product.instances(STUDY) for path in drawn(product.rule, model)]


def everything(wildcards):
    """Every result of every step, and every table and figure."""
    return [path for step in steps_of(STUDY) for path in of_every_model(step)] + presented()


def model_files():
    """`model.json` of every model."""
    return [RESULTS / model / "model.json" for model in STUDY.models]
