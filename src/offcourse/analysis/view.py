"""The view: one results folder, limited to what the declaration of a table or figure names.

A `Declaration` lists what a table or figure reads. `Results` is one results folder and everything that it covers. A
`ResultsView` joins the two: it returns what is declared and raises for anything else. `ResultsView.parameters` lists
all values that the view can return as plain JSON; rules, records, `offcourse status` and audits compare them to find
changes.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.files import sha256
from offcourse.study.labels import Labels, told_apart
from offcourse.study.protocol import Protocol

# Methods whose units are question sets; the units of all other methods are tasks.
ON_QUESTIONS = ("dola", "logit_lens")
VECTORS = ("function_vectors", "task_vectors")
Scope = tuple[Sequence[str], Sequence[str]]
NOTHING: Scope = ((), ())


@dataclass(frozen=True)
class Declaration:
    """What a product (a table, a figure, ...) reads.

    rule: name of the product's rule. methods: methods whose models and units (tasks or question sets) are shown.
    inputs: steps whose results are read. tables_read: numbers of other tables that are read.
    columns: columns of tracked tables, such as "tasks.group", for the rows of the shown models and units.
    tracked: files of `resources` that are read whole; a folder stands for its files.
    switches: switches of the protocol. settings: settings of the configuration, such as "function_vectors.n_heads".
    labels: {method of `offcourse.steering`: name that the product shows}.
    asked: whether methods are shown on question sets: steering methods on theirs, and not on their tasks.
    known: attributes of `Results` that are read: "last", "adds_bos", "cannot", "without".
    shown: whether every table and figure of the folder is read.
    unordered: whether the product is the same for any order of the study's models and units.
    """

    rule: str
    methods: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    tables_read: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()
    tracked: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    asked: bool = False
    known: tuple[str, ...] = ()
    shown: bool = False
    unordered: bool = False


@dataclass(frozen=True)
class Results:
    """One results folder (a study's or the authors' release) and what it covers.

    folder: path of the results. models: all models, in order. scopes: {method of the folder: (models, units)}.
    asked: {steering method: (models, question sets)}, of methods that run on question sets.
    artefacts: step -> its results, as paths relative to `folder`. tables: numbers of the folder's tables.
    shown: () -> the files of all tables and figures of the folder.
    settings: {method: section of the configuration}. resources: folder of the tracked tables.
    loaded: whether `model.json` describes loaded models; in the release it holds rows of models.tsv.
    last: the (model, task) whose function vectors were computed last (None: the last pair of the scope).
    adds_bos: {model: whether its tokenizer adds a BOS}, for models whose `model.json` does not say.
    cannot: {switch: {number of a table: why the table cannot be made under the switch's other value}}.
    without: {switch: models without results for the switch's other value}.
    """

    folder: Path
    models: Sequence[str]
    scopes: Mapping[str, Scope]
    artefacts: Callable[[str], Sequence[str]]
    registry: Registry
    protocol: Protocol
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    asked: Mapping[str, Scope] = field(default_factory=dict)
    tables: Sequence[int] = ()
    shown: Callable[[], Sequence[str]] = tuple
    resources: Path = RESOURCES
    loaded: bool = True
    last: tuple[str, str] | None = None
    adds_bos: Mapping[str, bool] | None = None
    cannot: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    without: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def only(self, method: str, models: Sequence[str], units: Sequence[str]) -> "Results":
        """These results, limited to some models and units of one method."""
        return replace(self, scopes={**self.scopes, method: (list(models), list(units))})


class ResultsView:
    """What one product can read. model: the model of a product that is made per model; None for the whole folder.

    `view / path` is the path of a declared result, and every other method returns a declared value. For anything that
    is not declared they raise `OffcourseError` with the names of the product and of the value it asked for.
    """

    def __init__(self, declaration: Declaration, results: Results, model: str | None = None):
        self._declared, self._results, self._model = declaration, results, model

    @cached_property
    def paths(self) -> frozenset[str]:
        """The declared results, relative to the folder."""
        found = {path for step in self._declared.inputs for path in self._results.artefacts(step)}
        if self._model:
            found = {path for path in found if path.startswith(f"{self._model}/")}
        found |= {f"tables/table{number}.parquet" for number in self.tables}
        if self._declared.shown:
            found |= set(self._results.shown())
        return frozenset(found | {f"{name}/model.json" for name in self.models()})

    def __truediv__(self, path: str) -> Path:
        if path not in self.paths:
            raise self._undeclared(path)
        return self._results.folder / path

    def __contains__(self, path: str) -> bool:
        return path in self.paths

    def _undeclared(self, what: str) -> OffcourseError:
        return OffcourseError(
            f"{self._declared.rule} reads {what}, which its declaration in src/offcourse/graph/products.py does not "
            "name (or this study does not have). Add it there, so that a change of it is seen."
        )

    def _check(self, known: Sequence[str], what: str) -> None:
        if what not in known:
            raise self._undeclared(what)

    @property
    def folder(self) -> Path:
        """The results folder, for the paths of files that the product writes."""
        return self._results.folder

    @property
    def tables(self) -> list[int]:
        """Numbers of the declared tables that the folder has."""
        return [number for number in self._declared.tables_read if number in self._results.tables]

    @property
    def methods(self) -> list[str]:
        """The declared methods that the folder has."""
        return [method for method in self._declared.methods if method in self._scopes]

    @property
    def _scopes(self) -> Mapping[str, Scope]:
        if not self._declared.asked:
            return self._results.scopes
        on_questions = {name: scope for name, scope in self._results.scopes.items() if name in ON_QUESTIONS}
        return {**on_questions, **self._results.asked}

    def scope(self, method: str) -> Scope:
        """(models, units) of a method, units being tasks or question sets; empty if the folder lacks the method."""
        self._check(self._declared.methods, method)
        models, units = self._scopes.get(method, NOTHING)
        return ([self._model] if self._model and models else list(models)), list(units)

    def models(self, *methods: str) -> list[str]:
        """The models of `methods` (of all declared methods if none is named), in the folder's order."""
        if self._model:
            return [self._model]
        if not self._declared.methods:
            return list(self._results.models)
        shown = [set(self.scope(method)[0]) for method in methods or self._declared.methods]
        return [model for model in self._results.models if any(model in each for each in shown)]

    def tasks(self, method: str) -> list[str]:
        """The tasks of one method."""
        return list(self.scope(method)[1])

    def cell(self, table: str, column: str, row: str) -> Any:
        """One cell of a tracked table: `cell("tasks", "group", "antonym")`."""
        self._check(self._declared.columns, f"{table}.{column}")
        return getattr(getattr(self._results.registry, table)[row], column)

    def groups(self) -> dict[str, str]:
        """The group of every task of the declared methods (tasks.tsv)."""
        return {task: self.cell("tasks", "group", task) for task in self._units(on_questions=False)}

    def forms(self, method: str) -> list[tuple[str, str]]:
        """Question sets of a method, each with its form (questions.tsv)."""
        return [(name, self.cell("questions", "form", name)) for name in self.scope(method)[1]]

    def labels(self) -> Labels:
        """Labels of the models, tasks and question sets that are shown (models.tsv, questions.tsv)."""
        models = {name: self.cell("models", "label", name) for name in self.models()}
        questions = {name: self.cell("questions", "label", name) for name in self._units(on_questions=True)}
        return Labels(told_apart(models), self._units(on_questions=False), questions)

    def post_training(self, models: Sequence[str]) -> list[tuple[str, str]]:
        """The (base, post-trained) pairs among `models`, in their order (models.tsv)."""
        bases = {name: self.cell("models", "base", name) for name in models}
        return [(base, name) for name, base in bases.items() if base in models]

    def model_labels(self, models: Sequence[str]) -> list[str]:
        """Labels of models (models.tsv). Models with one label (such as checkpoints) get their names in brackets."""
        labels = told_apart({model: self.cell("models", "label", model) for model in models})
        return [labels[model] for model in models]

    def switch(self, name: str) -> Any:
        """The value of a switch of the protocol."""
        self._check(self._declared.switches, name)
        return getattr(self._results.protocol, name)

    def switches(self, *names: str) -> dict[str, Any]:
        """The values of some switches."""
        return {name: self.switch(name) for name in names}

    @property
    def protocol(self) -> Protocol:
        """The whole protocol, for a product that declares every switch."""
        self.switches(*Protocol.model_fields)
        return self._results.protocol

    def setting(self, name: str) -> Any:
        """A setting such as "function_vectors.n_heads"; None if the folder lacks the method.

        A list of numbers is sorted, since the order in which a grid is written changes no number.
        """
        self._check(self._declared.settings, name)
        section, _, key = name.partition(".")
        if section not in self._results.scopes:
            return None
        value = self._results.settings.get(section, {}).get(key)
        numeric = isinstance(value, list) and all(isinstance(each, int | float) for each in value)
        return sorted(value) if numeric else value

    def label(self, method: str) -> str:
        """The name of a method of `offcourse.steering` in tables and figures."""
        self._check(tuple(self._declared.labels), method)
        return self._declared.labels[method]

    @property
    def steering(self) -> list[str]:
        """The declared methods of `offcourse.steering` that the folder has, in the study's order."""
        return [method for method in self._scopes if method in self._declared.labels]

    def tracked(self, name: str) -> Path:
        """The path of a file of `resources` that is read whole, or of a folder of such files."""
        self._check(self._declared.tracked, name)
        return self._results.resources / name

    @property
    def loaded(self) -> bool:
        """Whether `model.json` describes loaded models (in the release it holds rows of models.tsv)."""
        return self._results.loaded

    def known(self, name: str) -> Any:
        """An attribute of `Results` that no results file holds: "last", "adds_bos", "cannot" or "without"."""
        self._check(self._declared.known, name)
        return getattr(self._results, name)

    def parameters(self) -> dict[str, Any]:
        """{name: plain JSON value} of everything that the view can return beside files of results."""
        found: dict[str, Any] = {}
        order = sorted if self._declared.unordered else list
        for method in self.methods:
            models, units = self.scope(method)
            kind = "question sets" if self._on_questions(method) else "tasks"
            found[f"models of {method}"], found[f"{kind} of {method}"] = order(models), order(units)
        if not self._declared.methods and self._declared.columns:
            found["models"] = order(self.models())
        for name in self._declared.columns:
            table, _, column = name.partition(".")
            found |= {f"{column} of {row}": self.cell(table, column, row) for row in self._rows(table)}
        for name in self._declared.settings:
            if name.partition(".")[0] in self._results.scopes:
                found[name] = self.setting(name)
        found |= {f"label of {name}": label for name, label in self._declared.labels.items() if name in self.methods}
        found |= {name: digest_of(self._results.resources / name) for name in self._declared.tracked}
        if not self._results.loaded:
            found |= {name: _plain(self.known(name)) for name in self._declared.known}
        return found | self.switches(*self._declared.switches)

    def _units(self, on_questions: bool) -> list[str]:
        """Units of the declared methods; of every method of the folder for a product that declares none."""
        shown = self.methods if self._declared.methods else self._scopes
        methods = [method for method in shown if self._on_questions(method) == on_questions]
        units = [unit for method in methods for unit in self._scopes[method][1]]
        if on_questions and not self._declared.methods:
            units += [unit for _, asked in self._results.asked.values() for unit in asked]
        return list(dict.fromkeys(units))

    def _on_questions(self, method: str) -> bool:
        return self._declared.asked or method in ON_QUESTIONS

    def _rows(self, table: str) -> list[str]:
        if table == "models":
            return self.models()
        return self._units(on_questions=table == "questions")


def _plain(value: Any) -> Any:
    """The value after a round trip through JSON."""
    return json.loads(json.dumps(value))


def digest_of(path: Path) -> str:
    """Digest of a tracked file, or of the files of a folder with their names."""
    if path.is_dir():
        files = "".join(f"{each.name} {sha256(each)}\n" for each in sorted(path.glob("*.tsv")))
        return hashlib.sha256(files.encode()).hexdigest()[:16]
    return sha256(path)[:16]
