"""The list of the authors' released results, which `published.convert` writes below `results/published/`.

A group is the results of one method. This module imports nothing that reads a page or draws, since the workflow asks it
for names at each start.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from offcourse.analysis.view import Results
from offcourse.archive import paths
from offcourse.archive.manifest import Released, read_manifest, read_released
from offcourse.archive.read_early import read_early
from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.data.rows import Model, QuestionSet
from offcourse.data.tsv import read_tsv
from offcourse.errors import OffcourseError
from offcourse.files import write_json
from offcourse.graph import catalogue
from offcourse.graph.products import DOLA, FV, LENS, PRODUCTS, TV
from offcourse.graph.release_rules import CONVERTED, NAME, TABLES
from offcourse.graph.study_files import template
from offcourse.layout import Layout
from offcourse.study.protocol import Protocol

# {kind of a scores file: folder of its question set in the authors' repository}.
QUESTION_FOLDERS = {"tfqa": "DoLa/tfqa/", "factor": "DoLa/factor/", "lens": "function_vectors/logit_lens/"}
# Panels of Figure 8, by the labels of models.tsv.
APATHY_MODELS = ("Pythia 6.9B", "Llama-3.1 8B", "Llama 7B", "Mistral-v0.1 7B", "Llama-2 7B", "Qwen-2 7B")
APATHY_MODELS += ("Llama-2 70B", "Qwen-2 72B", "Llama-3 8B", "OLMo 7B")
# Tasks of the panels on a page of causal effects; the other two tasks of function vectors have no panel.
CIE_TASKS = ("antonym", "english-french", "english-german", "english-spanish")
CIE_TASKS += ("french-english", "german-english", "spanish-english")
# The last function-vector result that the authors' code computed before task vectors. In its Table 3 the accuracies of
# the first model are divided by this result.
LAST = ("falcon-3-7b", "country-capital")
# Why a table cannot be made from the release under the other value of a switch. The test accuracy of Qwen2 72B is in a
# pickle that the project does not have (docs/published.md).
CANNOT = {"selection": {3: "needs single items, which were not released of function vectors"}}
WITHOUT = {"tv_score": ["qwen2-72b"]}


@dataclass(frozen=True)
class Release:
    """The released files, and the project's names for their models, tasks and question sets."""

    layout: Layout
    resources: Path = RESOURCES

    @cached_property
    def manifest(self) -> dict[str, Released]:
        """The released files by path."""
        return dict(read_manifest(self.resources))

    @cached_property
    def registry(self) -> Registry:
        """The project's tables of models, tasks, question sets and downloads.

        Raises `OffcourseError` for a wrong cell in the row of a model or task that the release has. Another row's wrong
        cell stops nothing, since every run asks the release for the names of its files.
        """
        registry = Registry.load(self.resources)
        for table, faults in registry.faults.items():
            for name in self._with_release(table) & faults.keys():
                registry.require_sound(table, name)
        return registry

    def _with_release(self, table: str) -> set[str]:
        """The names of the rows of a table that the release has, whether their cells are right or not."""
        rows = read_tsv(self.resources / f"{table}.tsv")
        if table == "models":
            has = (rows["release_name"] != "") | rows["repo"].isin([run.model for run in self.runs])
        else:
            columns = ["release", *({"task_vector_release"} & set(rows))]
            has = (rows[columns] != "").any(axis=1)
        return set(rows.loc[has, "name"])

    @cached_property
    def runs(self) -> list[paths.ReleasedRun]:
        """The files of scores."""
        return [run for run in map(paths.run_of, self.manifest) if run]

    def read(self, spec: str) -> bytes:
        """The content of a released file, whose sha256 is checked."""
        return read_released(spec, self.manifest, self.layout.downloads)

    def model(self, name: str) -> Model | None:
        """The row of the model that the authors call `name` (a short name or a hub name); None if there is none."""
        rows = self.registry.models.values()
        found = [row for row in rows if row.release_name == name or ("dola" in row.methods and row.repo == name)]
        return found[0] if found else None

    def known(self, name: str) -> Model:
        """The row of a model that the authors call `name`. Raises `OffcourseError` when the registry has none."""
        if row := self.model(name):
            return row
        raise OffcourseError(f"models.tsv has no model that the release calls {name}; add its release_name")

    def question_set(self, kind: str) -> QuestionSet:
        """The question set of a kind of file of scores (see `QUESTION_FOLDERS`)."""
        rows = self.registry.questions.values()
        return next(row for row in rows if row.release.startswith(QUESTION_FOLDERS[kind]))

    @property
    def listed(self) -> Path:
        """Path of digitised.json, one entry per PDF page of the sweep.

        An entry says how the page's axis scale was recovered, which (0-shot, 5-shot) counts are consistent with the
        drawing, and which settings of the grid the page lacks.
        """
        return self.layout.results / "digitised.json"

    def sweep_tasks(self, name: str) -> list:
        """The tasks for which a model has pages."""
        tasks = self.registry.tasks.values()
        return [task for task in tasks if paths.page_path(name, task.name) in self.manifest]

    def vector_tasks(self) -> list:
        """The tasks of task vectors."""
        return [task for task in self.registry.tasks.values() if task.task_vector_release]

    def names(self, group: str) -> list[str]:
        """The authors' names of the models of a group."""
        if group == "dola":
            return sorted({run.model for run in self.runs})
        if group == "function_vectors":
            folder = f"{paths.PAGES}/"
            pages = [spec.removeprefix(folder) for spec in self.manifest if spec.startswith(folder)]
            return sorted({page.split("/")[0] for page in pages})
        rows = [row for row in self.registry.models.values() if row.release_name]
        names = [row.release_name for row in rows]
        if group == "readings":
            return sorted(name for name in names if paths.lens_path(name) in self.manifest)
        if group == "cie":
            # Checkpoints have no function vectors; their pages hold empty axes.
            names = [row.release_name for row in rows if "function_vectors" in row.methods]
            return sorted(name for name in names if paths.cie_path(name) in self.manifest)
        return sorted(name for name in names if paths.vector_paths(name)["layers"] in self.manifest)

    def folder(self, name: str) -> str:
        """The model's folder below results/published: the registry's name, or the authors' if the registry has none."""
        row = self.model(name)
        return row.name if row else name

    def results_of(self, group: str) -> Iterator[tuple[str, str, str]]:
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
        """The files of a group: each table and its record; for function vectors also the list of pages (`listed`)."""
        listed = [self.listed, self.layout.rule_record(f"published_{group}")] if group == "function_vectors" else []
        return listed + [
            path
            for step, model, unit in self.results_of(group)
            for path in (self.layout.artefact(step, ".parquet", model, unit), self.layout.record(step, model, unit))
        ]


def models_of(release: Release, group: str) -> list[str]:
    """The models of a group that are in models.tsv, in the order of models.tsv, which is the paper's."""
    named = {row.name for row in map(release.model, release.names(group)) if row}
    return [name for name in release.registry.models if name in named]


def all_models(release: Release) -> list[str]:
    """The released models of any group that are in models.tsv, in the order of models.tsv."""
    named = {name for group in CONVERTED for name in models_of(release, group)}
    return [name for name in release.registry.models if name in named]


def apathy_models(release: Release) -> list[str]:
    """The models of the page of apathy, in the order of the registry."""
    return [row.name for row in release.registry.models.values() if row.label in APATHY_MODELS]


def tasks_of(release: Release, method: str) -> list[str]:
    """The tasks of a method (function vectors or task vectors) in the release."""
    return [task.name for task in release.registry.tasks.values() if task.releases[method]]


def write_models(release: Release) -> None:
    """Write `model.json` of every released model with the facts of models.tsv; no weights are read."""
    for name in all_models(release):
        facts: Mapping[str, Any] = json.loads(json.dumps(asdict(release.registry.model(name))))
        write_json(release.layout.results / name / "model.json", facts)


def results_of_release(release: Release) -> Results:
    """The release's results folder and what it covers. The release's protocol is the published one."""
    made: dict[str, list[str]] = {}
    for group in CONVERTED:
        for step, model, unit in release.results_of(group):
            # In the release the chosen premature layers are in separate files beside the scores.
            read_with = "dola" if step == "premature_layers" else step
            made.setdefault(read_with, []).append(f"{model}/{step}/{unit}.parquet")
    sets = [release.question_set(kind).name for kind in ("tfqa", "factor")]
    vectors = {method: (models_of(release, method), tasks_of(release, method)) for method in (FV, TV)}
    return Results(
        release.layout.results,
        all_models(release),
        vectors
        | {DOLA: (models_of(release, "dola"), sets)}
        | {LENS: (models_of(release, "readings"), [release.question_set("lens").name])},
        lambda step: made.get(step, ()),
        release.registry,
        Protocol(),
        {FV: {"n_heads": [], "large": None, "controls": []}},
        tables=list(catalogue.DOLA_TABLES),
        resources=release.resources,
        loaded=False,
        last=LAST,
        adds_bos=read_early(vectors[FV][0], release.registry),
        cannot=CANNOT,
        without=WITHOUT,
    )


def parameters_of(rule: str, release: Release | None = None) -> dict[str, Any]:
    """{name: plain JSON value} of everything that a rule of the release reads beside files of results and code."""
    product = PRODUCTS["report"] if rule == "published_report" else TABLES.get(rule)
    if product is None:
        return {}
    read = product.view(results_of_release(release or Release(Layout(NAME)))).parameters()
    return read | {"template": template()} if product.rule == "report" else read
