"""Question sets of the hub: fetched at their commit over real HTTP, kept, read offline, refused if changed."""

import io
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from forking import environment, python
from hub_of_sets import serving

from offcourse.data.fetched import fetched_path, is_fetched, pinned_files
from offcourse.data.questions import questions_sha256
from offcourse.data.registry import RESOURCES, Registry
from offcourse.data.rows import QuestionSet
from offcourse.errors import OffcourseError

COMMIT = "0123456789abcdef" + "a" * 24
REPO = "owner/truthful"
README = b"""---
configs:
- config_name: generation
  data_files: [{split: validation, path: generation/validation-*}]
- config_name: multiple_choice
  data_files: [{split: validation, path: multiple_choice/validation-*}]
- config_name: texts
  data_files: [{split: validation, path: texts/validation-*}]
---
"""
GENERATION = {
    "question": ["Why?", "How?"],
    "best_answer": ["So", "Thus."],
    "correct_answers": [["So", "Thus; or so"], ["Thus"]],
    "incorrect_answers": [["No"], ["Not", "Never"]],
}
CHOICE = {"question": ["Why?"], "mc1_targets": [{"choices": ["So.", "No.", "Never."], "labels": [1, 0, 0]}]}
TEXTS = {"full_prefix": ["One,"], "completion": ["two"]} | {f"contradiction_{i}": [f"{i}"] for i in range(3)}
# Nobody answers here, or at the second one.
SILENT = "http://127.0.0.1:9"
WITH_PASSWORD = "http://someone:TheSecretWord@127.0.0.1:9"
NO_ADDRESS = "http://someone:TheSecretWord/more@127.0.0.1:9"
OFFLINE = {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
READ = """
import sys
from pathlib import Path
from offcourse.data.questions import load_questions
from offcourse.data.rows import QuestionSet
from offcourse.errors import OffcourseError
form, file, downloads = sys.argv[1:]
try:
    for question in load_questions(QuestionSet("set", "Set", form, file, "", ""), downloads=Path(downloads)):
        print((question.text, question.best, question.true, question.false))
except OffcourseError as error:
    sys.exit(str(error))
"""


def parquet(columns: dict) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    return content.getvalue()


FILES = {"README.md": README} | {
    f"{name}/validation-00000-of-00001.parquet": parquet(columns)
    for name, columns in {"generation": GENERATION, "multiple_choice": CHOICE, "texts": TEXTS}.items()
}


def file(config: str, commit: str = COMMIT, split: str = "validation") -> str:
    return f"hub:{REPO}@{commit}/{config}/{split}"


def begun(folder: Path, form: str, name: str, address: str, **more: str) -> subprocess.Popen:
    """Read a set in a process of its own, since the hub's client takes its address when it is imported."""
    variables = {"HF_ENDPOINT": address, "HF_HOME": str(folder / "home"), "HF_TOKEN": "", **more}
    (folder / "read.py").write_text(READ)
    command = [python(), str(folder / "read.py"), form, name, str(folder / "downloads")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment() | variables, **pipes)


def ended(process: subprocess.Popen) -> subprocess.CompletedProcess:
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def read(tmp_path):
    def reader(form: str, name: str, address: str = SILENT, **more: str):
        return ended(begun(tmp_path, form, name, address, **more))

    return reader


@pytest.fixture(scope="module", autouse=True)
def waiting(tmp_path_factory):
    """{address: process that asks there}. The client asks for half a minute, during which the other tests run."""
    processes = {
        address: begun(tmp_path_factory.mktemp("waiting"), "primer", file("generation"), address)
        for address in (SILENT, WITH_PASSWORD, NO_ADDRESS)
    }
    yield processes
    for process in processes.values():
        with process:
            process.kill()


@pytest.mark.parametrize(
    ("form", "config", "expected"),
    [
        (
            "primer",
            "generation",
            [("Why?", "So.", ("So.", "Thus; or so."), ("No.",)), ("How?", "Thus.", ("Thus.",), ("Not.", "Never."))],
        ),
        ("letters", "multiple_choice", [("Why?", "So.", ("So.",), ("No.", "Never."))]),
        ("continuation", "texts", [("One,", "two", ("two",), ("0", "1", "2"))]),
    ],
)
def test_a_set_is_fetched_at_its_commit_and_then_read_without_the_network(read, tmp_path, form, config, expected):
    with serving(REPO, COMMIT, FILES) as (address, asked):
        first = read(form, file(config), address)
    assert first.returncode == 0, first.stderr
    assert [eval(line) for line in first.stdout.splitlines()] == expected
    assert all(COMMIT in path for path in asked if REPO in path)
    # Nobody answers at the second address, and the hub's own cache is gone.
    again = read(form, file(config), HF_HOME=str(tmp_path / "empty"))
    assert (again.returncode, again.stdout) == (0, first.stdout)
    kept = sorted(path.name for path in (tmp_path / "downloads").rglob("*") if path.is_file())
    assert kept == ["validation.parquet", "validation.sha256"]


def test_a_kept_set_that_was_changed_is_named(read, tmp_path):
    with serving(REPO, COMMIT, FILES) as (address, _):
        read("primer", file("generation"), address)
    spec, downloads = file("generation"), tmp_path / "downloads"
    assert is_fetched(spec, downloads)
    fetched_path(spec, downloads).write_bytes(parquet(GENERATION | {"question": ["Why not?", "How?"]}))
    assert not is_fetched(spec, downloads)
    done = read("primer", spec)
    assert done.returncode != 0 and "was changed or damaged. Delete it and run again" in done.stderr


@pytest.mark.parametrize(
    ("form", "name", "variables", "says"),
    [
        ("primer", file("generation", split="train"), {}, "split train .* Check the network and the cell"),
        ("primer", file("other"), {}, "configuration other"),
        (
            "primer",
            file("generation"),
            OFFLINE,
            "Unset HF_DATASETS_OFFLINE",
        ),
        ("primer", file("texts"), {}, "does not have the columns of a set of the form primer .*question"),
        ("letters", file("generation"), {}, "does not have the columns of a set of the form letters .*mc1_targets"),
        ("continuation", file("generation"), {}, "missing columns: full_prefix"),
    ],
)
def test_a_set_that_cannot_be_had_or_read_is_named(read, form, name, variables, says):
    with serving(REPO, COMMIT, FILES) as (address, _):
        done = read(form, name, address, **variables)
    message = " ".join(done.stderr.strip().splitlines()[-1:])
    with pytest.raises(OffcourseError, match=says):
        raise OffcourseError(message)
    assert done.returncode != 0 and "Traceback" not in done.stderr


def test_the_digest_and_the_receipt_name_the_commit():
    rows = [QuestionSet("set", "Set", "letters", file("a", commit), "", "") for commit in (COMMIT, "b" * 40)]
    assert len({questions_sha256(row, limit) for row in rows for limit in (None, 3)}) == 4
    assert pinned_files([rows[0].fetched]) == f"{COMMIT}\t{rows[0].file}\n"


@pytest.mark.parametrize("cell", ["hub:owner/set@main/a/b", f"hub:set@{COMMIT}/a/b", f"hub:owner/set@{COMMIT}"])
def test_a_set_that_names_no_commit_is_refused(tmp_path, cell):
    for table in ("models", "tasks", "questions", "sources"):
        text = (RESOURCES / f"{table}.tsv").read_text(encoding="utf-8")
        (tmp_path / f"{table}.tsv").write_text(text.replace("misconceptions.tsv", cell), encoding="utf-8")
    with pytest.raises(OffcourseError, match="needs hub:owner/name@commit/configuration/split"):
        Registry.load(Path(tmp_path)).question_set("misconceptions")


# The last tests, since they wait.
def test_a_hub_that_does_not_answer_is_named(waiting):
    done = ended(waiting[SILENT])
    assert done.returncode != 0 and "cannot fetch the question set owner/truthful" in done.stderr


@pytest.mark.parametrize(
    ("address", "says"),
    [(WITH_PASSWORD, "cannot fetch the question set"), (NO_ADDRESS, "HF_ENDPOINT is no address")],
)
def test_no_message_holds_the_password_of_the_address(waiting, address, says):
    done = ended(waiting[address])
    assert done.returncode != 0 and says in done.stderr and "TheSecretWord" not in done.stderr
