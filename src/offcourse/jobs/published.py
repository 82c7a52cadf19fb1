"""The authors' released results as artefacts below `results/published/`, with a record each: what there is, and how it
is made. A group is a method; its models are converted side by side.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa

from offcourse import artefacts
from offcourse.errors import OffcourseError
from offcourse.jobs.published_rules import NAME
from offcourse.jobs.published_rules import STORE as TARGETS
from offcourse.layout import Layout
from offcourse.provenance.records import Stopwatch, code_behind, hashes, write_record
from offcourse.published import cie_pages, dola, lens_pages, sweep, task_vectors
from offcourse.published.archive import Released, read_manifest, read_released
from offcourse.questions import load_questions
from offcourse.registry import ARCHIVE, RESOURCES, Model, QuestionSet, Registry
from offcourse.release import release_path
from offcourse.store.fingerprint import fingerprint, script_digest, settle

SCHEMAS: dict[str, pa.DataFrameSchema] = {
    "fv_sweep": artefacts.PUBLISHED_FV_SWEEP,
    "icl": artefacts.PUBLISHED_ICL,
    "tv_sweep": artefacts.PUBLISHED_TV_SWEEP,
    "tv_icl": artefacts.PUBLISHED_ICL,
    "dola": artefacts.PUBLISHED_DOLA,
    "premature_layers": artefacts.PREMATURE_LAYERS,
    "logit_lens": artefacts.LENS_MEANS,
    "apathy": artefacts.APATHY_MEANS,
    "cie": artefacts.CIE_SHADES,
}
# The question set of each kind of file of scores, by the folder that the set itself is in.
QUESTION_FOLDERS = {"tfqa": "DoLa/tfqa/", "factor": "DoLa/factor/", "lens": "function_vectors/logit_lens/"}
# Panels of Figure 8, by the labels of models.tsv.
APATHY_MODELS = ("Pythia 6.9B", "Llama-3.1 8B", "Llama 7B", "Mistral-v0.1 7B", "Llama-2 7B", "Qwen-2 7B")
APATHY_MODELS += ("Llama-2 70B", "Qwen-2 72B", "Llama-3 8B", "OLMo 7B")
# Panels of a page of causal effects: the tasks of function vectors but the two that are not of words and translations.
CIE_TASKS = ("antonym", "english-french", "english-german", "english-spanish")
CIE_TASKS += ("french-english", "german-english", "spanish-english")


def code_of(group: str) -> str:
    """Digest of the code behind a group and of its script."""
    return f"{fingerprint(TARGETS[group])} {script_digest(f'published_{group}')}"


@dataclass(frozen=True)
class Made:
    """One table. files: the released ones that it was made from. notes: what the record says beside them."""

    step: str
    unit: str
    frame: pd.DataFrame
    files: tuple[str, ...]
    notes: dict[str, Any]


@dataclass(frozen=True)
class Release:
    """The released files and what the project calls them."""

    layout: Layout
    resources: Path = RESOURCES

    @cached_property
    def manifest(self) -> dict[str, Released]:
        """The released files by path."""
        return dict(read_manifest(self.resources))

    @cached_property
    def registry(self) -> Registry:
        """The project's tables."""
        return Registry.load(self.resources)

    @cached_property
    def runs(self) -> list[dola.Run]:
        """The files of scores."""
        return [run for run in map(dola.run_of, self.manifest) if run]

    def read(self, spec: str) -> bytes:
        """The content of a released file, checked."""
        return read_released(spec, self.manifest, self.layout.downloads)

    def model(self, name: str) -> Model | None:
        """The row of a model that the authors call `name`, in short or as on the hub; None if there is none."""
        rows = self.registry.models.values()
        found = [row for row in rows if row.release_name == name or ("dola" in row.methods and row.repo == name)]
        return found[0] if found else None

    def known(self, name: str) -> Model:
        """The same. Raises `OffcourseError` when the registry does not have it."""
        if row := self.model(name):
            return row
        raise OffcourseError(f"models.tsv has no model that the release calls {name}; add its release_name")

    def question_set(self, kind: str) -> QuestionSet:
        """The question set of a kind of file of scores (see `QUESTION_FOLDERS`)."""
        rows = self.registry.questions.values()
        return next(row for row in rows if row.release.startswith(QUESTION_FOLDERS[kind]))

    @property
    def listed(self) -> Path:
        """The list of pages: calibration, the (0-shot, 5-shot) counts that a page alone allows, settings not drawn."""
        return self.layout.results / "digitised.json"

    def sweep_tasks(self, name: str) -> list:
        """The tasks that there are pages of for a model."""
        tasks = self.registry.tasks.values()
        return [task for task in tasks if sweep.page_path(name, task.name) in self.manifest]

    def vector_tasks(self) -> list:
        """The tasks of task vectors."""
        return [task for task in self.registry.tasks.values() if task.task_vector_release]

    def names(self, group: str) -> list[str]:
        """What the authors call the models of a group."""
        if group == "dola":
            return sorted({run.model for run in self.runs})
        if group == "function_vectors":
            folder = f"{sweep.PAGES}/"
            pages = [spec.removeprefix(folder) for spec in self.manifest if spec.startswith(folder)]
            return sorted({page.split("/")[0] for page in pages})
        rows = [row for row in self.registry.models.values() if row.release_name]
        names = [row.release_name for row in rows]
        if group == "readings":
            return sorted(name for name in names if lens_pages.lens_path(name) in self.manifest)
        if group == "cie":
            # Pages of checkpoints, which have no function vectors, are empty axes.
            names = [row.release_name for row in rows if "function_vectors" in row.methods]
            return sorted(name for name in names if cie_pages.cie_path(name) in self.manifest)
        return sorted(name for name in names if task_vectors.paths(name)["layers"] in self.manifest)

    def folder(self, name: str) -> str:
        """The name below results/published: the registry's, or the release's where the registry has none."""
        row = self.model(name)
        return row.name if row else name

    def contents(self, group: str) -> Iterator[tuple[str, str, str]]:
        """(step, model, unit) of every table of a group."""
        for name in self.names(group):
            folder = self.folder(name)
            if group == "dola":
                for kind in sorted({run.questions for run in self.runs if run.model == name}):
                    yield "dola", folder, self.question_set(kind).name
                    if kind == "tfqa":
                        yield "premature_layers", folder, self.question_set(kind).name
                continue
            if group == "readings":
                yield "logit_lens", folder, self.question_set("lens").name
                if self.known(name).label in APATHY_MODELS:
                    yield "apathy", folder, self.question_set("lens").name
                continue
            if group == "cie":
                yield from (("cie", folder, task) for task in CIE_TASKS)
                continue
            tasks = self.sweep_tasks(name) if group == "function_vectors" else self.vector_tasks()
            steps = ("fv_sweep", "icl") if group == "function_vectors" else ("tv_sweep", "tv_icl")
            for task in tasks:
                for step in steps:
                    yield step, folder, task.name

    def outputs(self, group: str) -> list[Path]:
        """The files of a group: a table and its record each, and of the pages a list of how each was read."""
        listed = [self.listed, self.layout.rule_record(f"published_{group}")] if group == "function_vectors" else []
        return listed + [
            path
            for step, model, unit in self.contents(group)
            for path in (self.layout.artefact(step, ".parquet", model, unit), self.layout.record(step, model, unit))
        ]


def _function_vectors(release: Release, name: str) -> Iterator[Made]:
    tasks = release.sweep_tasks(name)
    found = sweep.read_sweeps(release.read, name, tasks, release.model(name))
    for task in tasks:
        each = found[task.name]
        files = (sweep.page_path(name, task.name), task.release)
        files += (sweep.MEANS,) if each.calibration == "means" else ()
        notes = {
            "calibration": each.calibration,
            "candidates": [list(pair) for pair in each.candidates],
            "missing": [list(setting) for setting in each.missing],
        }
        yield Made("fv_sweep", task.name, each.sweep, files, notes)
        yield Made("icl", task.name, each.shots, files, notes)


def _task_vectors(release: Release, name: str) -> Iterator[Made]:
    files = {kind: path for kind, path in task_vectors.paths(name).items() if path in release.manifest}
    row, tasks = release.known(name), release.vector_tasks()
    found = task_vectors.read_task_vectors(release.read, name, tasks, row.layers, "pickle" in files)
    for task, tables in found.items():
        for step, frame in zip(("tv_sweep", "tv_icl"), tables, strict=True):
            yield Made(step, task, frame, tuple(files.values()), {"pickle": "pickle" in files})


def _dola(release: Release, name: str) -> Iterator[Made]:
    row = release.known(name)
    for kind in sorted({run.questions for run in release.runs if run.model == name}):
        runs = [run for run in release.runs if (run.model, run.questions) == (name, kind)]
        asked = release.question_set(kind)
        questions = load_questions(asked, None, release.resources, release.layout.downloads)
        scores, layers, unused = dola.read_dola(release.read, runs, row, questions, release.manifest)
        counted = tuple(run.layers_path for run in runs if run.layers_path in release.manifest)
        files = (*(run.path for run in runs if run.path not in unused), *counted, asked.release)
        notes = {"unused": unused, "texts": int(scores["question"].nunique()), "of": len(questions)}
        yield Made("dola", asked.name, scores, files, notes)
        if kind == "tfqa":
            yield Made("premature_layers", asked.name, layers, files, notes)


def _readings(release: Release, name: str) -> Iterator[Made]:
    """The logit lens of a model from its own page, and its panel of the page of apathy."""
    row, asked = release.known(name), release.question_set("lens")
    count = len(load_questions(asked, None, release.resources, release.layout.downloads))
    path = lens_pages.lens_path(name)
    lens = lens_pages.read_lens_page(release.read(path), row.layers, count, path)
    yield Made("logit_lens", asked.name, lens, (path, asked.release), {"calibration": "ticks"})
    if row.label not in APATHY_MODELS:
        return
    page = lens_pages.APATHY_PAGE
    layers = {each.label: each.layers for each in release.registry.models.values() if each.label in APATHY_MODELS}
    apathy = lens_pages.read_apathy_page(release.read(page), layers, count, page)[row.label]
    lens_pages.check_top(apathy, lens, f"{page}, {row.label}")
    notes = {"calibration": apathy["calibration"].iloc[0]}
    yield Made("apathy", asked.name, apathy, (page, path, asked.release), notes)


def _cie(release: Release, name: str) -> Iterator[Made]:
    row, path = release.known(name), cie_pages.cie_path(name)
    found = cie_pages.read_cie_page(release.read(path), row.layers, row.heads, CIE_TASKS, path)
    for task, frame in found.items():
        yield Made("cie", task, frame, (path,), {"scale": bool(frame["effect"].notna().all())})


_CONVERT = {
    "function_vectors": _function_vectors,
    "task_vectors": _task_vectors,
    "dola": _dola,
    "readings": _readings,
    "cie": _cie,
}


def _convert(group: str, layout: Layout, rule: str, name: str) -> list[dict[str, Any]]:
    """Write the tables of one model and their records; returns what is said of each page."""
    release, watch, said = Release(layout), Stopwatch(), []
    code, script = code_behind(TARGETS[group]), script_digest(rule)
    settle(code["modules"])
    folder, commit = release.folder(name), release.registry.sources[ARCHIVE].file
    for made in _CONVERT[group](release, name):
        target = layout.artefact(made.step, ".parquet", folder, made.unit)
        artefacts.write_parquet(target, made.frame, SCHEMAS[made.step])
        record = {
            "rule": rule,
            "wildcards": {"model": folder},
            "study": NAME,
            "step": made.step,
            "model": folder,
            "task": made.unit,
            "inputs": hashes([release_path(spec, layout.downloads) for spec in made.files], layout.base),
            "outputs": hashes([target], layout.base),
            "parameters": {"release": commit, "name": name, **made.notes},
            "code": code,
            "script": script,
            "made": watch.made(),
        }
        write_record(layout.record(made.step, folder, made.unit), record)
        if made.step == "fv_sweep":
            said.append({"model": folder, "task": made.unit, **made.notes})
    return said


def convert(group: str, layout: Layout, rule: str, threads: int = 1) -> None:
    """Write every table of a group and its record, `threads` models at a time.

    Raises `OffcourseError` for a released file that is missing, altered, or of another shape.
    """
    release, pages, watch = Release(layout), [], Stopwatch()
    names = release.names(group)
    with ProcessPoolExecutor(max_workers=threads) as pool:
        for name, said in zip(names, pool.map(partial(_convert, group, layout, rule), names), strict=True):
            print(f"{group} {name}", file=sys.stderr, flush=True)
            pages += said
    if group == "function_vectors":
        artefacts.write_json(release.listed, pages)
        _record_list(release, rule, pages, watch)


def _record_list(release: Release, rule: str, pages: list[dict[str, Any]], watch: Stopwatch) -> None:
    """The record of the list of pages: it is made from what all of them gave."""
    layout = release.layout
    tables = [layout.artefact("fv_sweep", ".parquet", page["model"], page["task"]) for page in pages]
    record = {
        "rule": rule,
        "wildcards": {},
        "study": NAME,
        "inputs": hashes(tables, layout.base),
        "outputs": hashes([release.listed], layout.base),
        "parameters": {},
        "code": code_behind(TARGETS["function_vectors"]),
        "script": script_digest(rule),
        "made": watch.made(),
    }
    write_record(layout.rule_record(rule), record)


def models_of(release: Release, group: str) -> list[str]:
    """The models of a group that the registry has, in the order of its table, which is the paper's."""
    named = {row.name for row in map(release.model, release.names(group)) if row}
    return [name for name in release.registry.models if name in named]


def all_models(release: Release) -> list[str]:
    """Those of all groups."""
    named = {name for group in TARGETS for name in models_of(release, group)}
    return [name for name in release.registry.models if name in named]


def apathy_models(release: Release) -> list[str]:
    """The models of the page of apathy, in the order of the registry."""
    return [row.name for row in release.registry.models.values() if row.label in APATHY_MODELS]


def tasks_of(release: Release, method: str) -> list[str]:
    """The tasks of function vectors or of task vectors."""
    return [task.name for task in release.registry.tasks.values() if task.releases[method]]


def write_models(release: Release) -> None:
    """`model.json` of every released model: what models.tsv says of it. No weights were read."""
    for name in all_models(release):
        facts: Mapping[str, Any] = json.loads(json.dumps(asdict(release.registry.model(name))))
        artefacts.write_json(release.layout.results / name / "model.json", facts)
