"""A sample of the torture test (`make torture` does all of it)."""

import os
import re
import subprocess

from forking import environment, python
from lab import CHECKOUT, Lab

from torture.damages import sampled
from torture.figures import BEGIN, END, keep, summary, table, write_docs

SAMPLE = (
    "configuration: (aliases that explode|object of Python|NUL|saved as UTF-16|grid of 200 strengths)",
    r"table (models|tasks)\.tsv: (half of the file|folder in its place|zeros|kv_heads is .*|words is .*)",
    "word list: antonyms, (escape|link to itself|zeros)",
    "question set: passages, (a cell less|lone surrogate)",
    r"model folder: (pickle alone|code of its own|index that leads out|header of .*|config\.json, half of the file)",
    "record: antonym, (last byte gone|folder in its place)",
    r"result: icl.*|result: antonym\.parquet, half of the file",
    r"vector file .*: (empty|facts, layers: nest|a block twice|a vector of no memory|object of Python)",
    r"archive \(\.tar\.zst\): (half of the file|link to itself|one bit)",
    "arguments: (empty row|row of 100,000 signs|point without a value|code as a point)",
)


def test_spoiled_inputs_are_refused_by_name(finished: Lab):
    """Each in a child of one process, but for the first: that is how a user meets it."""
    command = [python(), "-m", "torture", "--part", "malformed", "--study", finished.folder]
    path = os.pathsep.join([str(CHECKOUT / "tests"), str(CHECKOUT / "src")])
    done = subprocess.run(
        [*map(str, command), "--only", f"^({'|'.join(SAMPLE)})$"],
        env=environment() | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cases, faulty = map(int, re.search(r"malformed: (\d+) cases, (\d+) with faults", done.stdout).groups())
    assert cases >= 25 and faulty == 0, done.stdout


def test_a_spoiled_configuration_is_one_message_of_a_fresh_process(tmp_path):
    """In a fresh process, as a user meets it; `torture` imports the package once."""
    (tmp_path / "study.yaml").write_text("study: !!python/object/apply:os.system ['exit 7']\n", encoding="utf-8")
    done = Lab(tmp_path / "run", tmp_path / "study.yaml").offcourse("status")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.fullmatch(r"offcourse: .*study\.yaml is not YAML.*\n", done.stderr, re.DOTALL)


def test_a_sample_reaches_every_place_before_one_is_hit_twice():
    document = {"a": {"b": [1, 2], "c": "x"}, "d": None}
    hit = [what.partition(":")[0] for what, _ in sampled(document, 5, seed=0)]
    assert sorted(hit) == ["a", "a.b", "a.b.0", "a.c", "d"]


def test_the_table_counts_what_was_as_expected():
    found = {
        "malformed": [{"kind": "table", "name": "a", "faults": []}, {"kind": "table", "name": "b", "faults": ["x"]}]
    }
    assert table(found).splitlines()[-1].endswith("| 2 | 1 |")
    assert "table: b: x" in summary("malformed", found["malformed"], 1.0)


def test_a_case_that_is_run_again_replaces_its_outcome_and_no_other(tmp_path):
    page, kept = tmp_path / "page.md", tmp_path / "outcomes.json"
    page.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    first = [{"kind": "table", "name": name, "faults": ["x"]} for name in "ab"]
    write_docs(keep({"malformed": first}, kept), page)
    assert "| 2 | 0 |" in page.read_text(encoding="utf-8")
    write_docs(keep({"malformed": [first[0] | {"faults": []}]}, kept), page)
    assert "| 2 | 1 |" in page.read_text(encoding="utf-8")
