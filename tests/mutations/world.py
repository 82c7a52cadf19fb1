"""A finished study and a folder to compute it in from nothing, in one process: what a change redoes and what it moves.

Jobs run here as Snakemake runs them: their scripts, in the order of the graph, with an object in the place of
`snakemake`. That takes seconds in the place of minutes, because nothing is imported anew.
"""

import contextlib
import cProfile
import hashlib
import importlib
import io
import json
import re
import runpy
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import yaml
from lab import jobs
from snakemake.cli import main as snakemake

from offcourse.audit.status import status
from offcourse.data.registry import Registry
from offcourse.figures import style
from offcourse.files import sha256
from offcourse.graph.keys import STEPS, steps_of
from offcourse.graph.products import PRODUCTS, products_of
from offcourse.graph.study_files import job_outputs
from offcourse.layout import Layout
from offcourse.models.fetch import prepare
from offcourse.models.manifest import MANIFEST
from offcourse.run import job
from offcourse.store.shards import copy_whole
from offcourse.study.check import check_study
from offcourse.study.config import Study, read_study

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = CHECKOUT / "workflow" / "scripts"
# The name of the study of steering methods (`mutations.steering`).
STEERED = "steered"
# Follows everything, and is an inventory of digests.
NOT_RUN = ("ro_crate",)
# In the study of steering methods, which is about keys of shards, pages and pictures are left out as well.
NOT_DRAWN = ("figure_", "report", *NOT_RUN)
Job = tuple[str, str]  # rule, model ("" in a job of the whole study)
Unit = tuple[str, str, str]  # step or rule, model, task or question set


@dataclass
class Run:
    """A study that was computed.

    results: digest of the content of each result. keys: of the shards. refused: the message of the job `refusing`.
    ran: of a traced run, by step or rule, the files whose code ran while its results were computed, with lines.
    """

    results: dict[Unit, str] = field(default_factory=dict)
    keys: dict[Unit, str] = field(default_factory=dict)
    ran: dict[str, list[str]] = field(default_factory=dict)
    refused: str = ""
    refusing: Job | None = None


# The job that runs now, for what listens to the files that it opens.
NOW: list[Job] = []


class Outputs(list):
    """The outputs of a job, as its script sees them."""

    def __init__(self, paths: list[Path], record: Path | None):
        super().__init__([str(path) for path in paths] + ([str(record)] if record else []))
        self._record = str(record) if record else None

    def get(self, name: str):
        """The path of the record."""
        return self._record if name == "record" else None


def is_run(rule: str, study: str) -> bool:
    """Whether the mutation test runs a rule of a study."""
    return not rule.startswith(NOT_DRAWN if study == STEERED else NOT_RUN)


def rule_of(step: str) -> str:
    """The rule that makes a result."""
    return STEPS[step].rule if step in STEPS else step


def run_all(
    configfile: Path, prepared: Path | None = None, first: Callable[[Job], bool] | None = None, base: Run | None = None
) -> Run:
    """Compute a study from nothing below the working folder; its models are those of the folder `prepared`, if given.

    first: of a working folder that has the results of `base`: only from the first job on for which it is true, and
    then every job, because results may have moved.
    """
    found = Run()
    moved = first is None
    now: Job = ("", "")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            study, registry, layout = read_study(configfile), Registry.load(), Layout(read_study(configfile).study)
            check_study(study, registry)
            for model in study.models:
                now = ("prepare_model", model)
                if first is not None:
                    continue
                if prepared is not None and (prepared / model).exists():
                    shutil.copytree(prepared / model, layout.model_folder(model))
                else:
                    prepare(registry.model(model), registry, layout.model_folder(model), layout.downloads / "packages")
                copy_whole(layout.model_folder(model) / MANIFEST, layout.receipt(model))
            for now, program, inputs, outputs in _programs(study, registry, layout):
                if not (moved or first(now)):
                    continue
                NOW[:] = [now]
                _run(now, program, inputs, outputs, yaml.safe_load(configfile.read_text()), layout)
                if not moved:
                    _collect(found, study, registry, layout)
                    moved = found.results != base.results
        except SystemExit as error:
            found.refused, found.refusing = str(error), now
        except Exception as error:
            found.refused, found.refusing = f"{type(error).__name__}: {error}", now
    if now != ("", ""):
        _collect(found, study, registry, layout)
    return found


def read(configfile: Path) -> Run:
    """A study that has run below the working folder."""
    found, study = Run(), read_study(configfile)
    _collect(found, study, Registry.load(), Layout(study.study))
    return found


def _programs(study: Study, registry: Registry, layout: Layout) -> Iterator[tuple[Job, str, list[str], Outputs]]:
    """Every job in an order in which they can run: (job, script, inputs, outputs)."""
    products = products_of(study, registry)
    check = products.pop("check_model")
    for model in study.models:
        rules = {step.rule: step.script for step in steps_of(study, model).values()}
        before = [rule for rule in rules if rule == "prompts"]
        manifests = [str(layout.model_folder(name) / "manifest.json") for name in study.models]
        for rule in before:
            yield (rule, model), rules.pop(rule), [], _results(rule, study, model, layout)
        outputs = Outputs([layout.results / model / "model.json"], layout.rule_record(check.rule, model))
        yield (check.rule, model), check.script, manifests, outputs
        for rule, script in rules.items():
            yield (rule, model), script, [], _results(rule, study, model, layout)
    for rule, product in products.items():
        if not is_run(rule, study.study):
            continue
        for model in product.instances(study):
            paths = [layout.results / path for path in job_outputs(product, study, registry, model)]
            outputs = Outputs(paths, layout.rule_record(rule, model))
            yield (rule, model or ""), product.script, [], outputs


def _results(rule: str, study: Study, model: str, layout: Layout) -> Outputs:
    """The outputs of a rule that makes results of steps."""
    steps = [step for step in steps_of(study, model).values() if step.rule == rule]
    paths = [layout.artefact(step.name, step.suffix, model, unit) for step in steps for unit in step.units(study)]
    return Outputs(paths, None)


def _run(of: Job, program: str, inputs: list[str], outputs: Outputs, config: dict, layout: Layout) -> None:
    rule, model = of
    log = layout.results / "logs" / rule / f"{model or 'study'}.log"
    for path in (log, *map(Path, outputs)):
        path.parent.mkdir(parents=True, exist_ok=True)
    handed = SimpleNamespace(
        rule=rule,
        log=[str(log)],
        config=config,
        input=inputs,
        output=outputs,
        scriptdir=str(SCRIPTS),
        wildcards={"model": model} if model else {},
        threads=1,
        params={},
        resources={},
    )
    runpy.run_path(str(SCRIPTS / f"{program}.py"), init_globals={"snakemake": handed})


def _collect(found: Run, study: Study, registry: Registry, layout: Layout) -> None:
    for name, step in steps_of(study).items():
        for model in study.models_of(*step.methods):
            for unit in step.units(study):
                path, record = layout.artefact(name, step.suffix, model, unit), layout.record(name, model, unit)
                if path.exists():
                    found.results[name, model, unit] = content(path)
                if record.exists():
                    found.keys[name, model, unit] = json.loads(record.read_text())["key"]
    for rule, product in products_of(study, registry).items():
        for model in product.instances(study):
            paths = [layout.results / path for path in job_outputs(product, study, registry, model)]
            if is_run(rule, study.study) and all(path.exists() for path in paths):
                found.results[rule, model or "", ""] = _digest(*(content(path) for path in sorted(paths)))


def content(path: Path) -> str:
    """A digest of what a result says: rows and notes of a table, a page without dates and without digests of code."""
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
        return _digest(frame.to_csv(index=False), str(frame.dtypes.to_dict()), json.dumps(frame.attrs, sort_keys=True))
    if path.suffix == ".html":
        return _digest(undated(path.read_text(encoding="utf-8")))
    return sha256(path)


def undated(page: str) -> str:
    """A report without what says when and by which code it was made."""
    page = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?([+-]\d\d:\d\d| UTC|Z)?", "", page)
    page = re.sub(r"\b\d+(\.\d+)? (ms|s|min|h)\b", "", page)
    page = re.sub(r"\b[0-9a-f]{12,64}\b", "", page)
    # The checkout has changes as soon as a page of docs has been written from outcomes.
    return re.sub(r", +with changes", "", page)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def planned(configfile: Path, folder: Path) -> set[Job]:
    """The jobs that `snakemake -n` would run in a finished study. Raises `RuntimeError` with its messages."""
    out = io.StringIO()
    words = ["--cores", "2", "--configfile", str(configfile), "--directory", str(folder), "--dry-run"]
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            snakemake([*words, "--snakefile", str(CHECKOUT / "Snakefile")])
        except SystemExit as error:
            code = error.code
    if code not in (0, None):
        raise RuntimeError(out.getvalue() or str(code))
    return jobs(out.getvalue())


def stale(configfile: Path, folder: Path) -> dict[Unit, tuple[str, ...]]:
    """What `offcourse status` says is not fresh in a finished study, with its reasons."""
    study = read_study(configfile)
    states = status(study, Registry.load(), Layout(study.study, folder))
    return {(state.step, state.model, state.unit): state.why for state in states if state.job}


LOOKED_AT = re.compile("/site-packages/(torch|transformers)/")
# An import runs a module's own lines, which compute nothing; what is used of it afterwards is called by others.
NOT_FOLLOWED = re.compile("/site-packages/datasets/|^<frozen importlib")


class Trace:
    """Notes which functions run while a result is computed: those of the package by file and line, packages by name."""

    def __init__(self):
        self.ran: dict[str, set[str]] = {}
        self._now = ""

    def wrap(self, name: str, function: Callable) -> Callable:
        """The function, noting what runs in it under the name of a step or rule, of the one before where that is ""."""

        def traced(*words, **more):
            self._now = name or self._now
            # A callback in Python for each call would take five times as long as the study.
            profile = cProfile.Profile(builtins=False)
            try:
                return profile.runcall(function, *words, **more)
            finally:
                self.ran.setdefault(self._now, set()).update(_places(profile.getstats(), function))

        return traced

    def install(self) -> None:
        """Wrap what computes a result: the functions of steps, and those that tables and figures begin with."""
        inner = job.compute

        def compute(step, its, unit):
            return self.wrap(step.name, inner)(step, its, unit)

        job.compute = compute
        for rule, product in PRODUCTS.items():
            module, function = product.target.split(":")
            module = importlib.import_module(module)
            setattr(module, function, self.wrap(rule, getattr(module, function)))
        # A figure's function makes a page, which is drawn afterwards.
        style.draw = self.wrap("", style.draw)


def _places(entries: list, first: Callable) -> set[str]:
    """File and line of every function that ran, by the entries of the profile of a call of `first`.

    `datasets` looks at the classes of every package that the process has loaded. This process has loaded the packages
    of all steps, torch and transformers among them, but the job of a step without a model has not. So a function of
    torch or transformers counts only where something else than `datasets` calls it.
    """
    called = {entry.code: [inner.code for inner in entry.calls or ()] for entry in entries}
    reached = {first.__code__} | set(called) - {code for inner in called.values() for code in inner}
    waiting = list(reached)
    while waiting:
        code = waiting.pop()
        if not NOT_FOLLOWED.search(code.co_filename):
            new = set(called[code]) - reached
            reached |= new
            waiting += new
    return {
        f"{code.co_filename}:{code.co_firstlineno}"
        for code in called
        if code in reached or not LOOKED_AT.search(code.co_filename)
    }
