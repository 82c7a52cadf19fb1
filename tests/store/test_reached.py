"""A definition counts when something that is reached uses its name, and not because its module is imported."""

import ast
import shutil
from pathlib import Path

import grimp
import pytest

from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS
from offcourse.graph.products import PRODUCTS
from offcourse.store import fingerprint, reached, statements

CACHED = (
    *(statements.is_module, statements.parsed, statements._nodes, statements._asked, statements._kept),
    *(reached.reached, fingerprint.modules_behind, fingerprint.versions_behind),
)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """`package({"a": "source"})`: a package in the place of ours, read anew; `package()` again after an edit."""
    folder = tmp_path / "src" / "offcourse"

    def make(modules=None) -> Path:
        for name, text in (modules or {}).items():
            path = folder / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        if modules:
            (folder / "__init__.py").touch()
        for function in CACHED:
            function.cache_clear()
        return folder

    monkeypatch.setattr(statements, "SOURCE", folder)
    yield make
    monkeypatch.undo()
    make()


SOURCES = {
    "one": """
from dataclasses import dataclass
from typing import TYPE_CHECKING
from offcourse import two
from offcourse.two import used, unused, Type, LIMIT as most
if TYPE_CHECKING:
    from offcourse.three import Other

@dataclass
class Row:
    kind: Type
    size: int = most

def f(x: Type, job) -> "Other":
    y: Type = used(x)
    if not y:
        raise OffcourseError(f"no {two.TEXT} here")
    return Row(y), two.attribute()

def g():
    from offcourse.three import late
    return late()

def h():
    return two
""",
    "two": """
import numpy as np
import pandas as pd
LIMIT = 3
TEXT = "t"
TABLE = {"a": 1, "b": 2}
class Type: pass
def used(x): return helper(x)
def helper(x): return np.abs(x)
def unused(x): return pd.Series(x)
def attribute(): return 1
""",
    "three": """
from offcourse.four import X
def late(): return 1
class Other: pass
""",
    "four": """
import os
X = 1
os.environ.setdefault("A", "1")
""",
}


def names(*targets: str) -> dict[str, set[str]]:
    found = reached.reached(*targets)
    return {
        module.removeprefix("offcourse."): {
            getattr(each.node, "name", None) or ast.unparse(each.node).split(" =")[0] for each in statements
        }
        for module, statements in found.code.items()
    }


def test_names_are_followed_where_they_lead(package):
    package(SOURCES)
    assert names("offcourse.one:f") == {"one": {"f", "Row"}, "two": {"used", "helper", "LIMIT", "TEXT", "attribute"}}
    assert reached.reached("offcourse.one:f").packages == {"numpy", "dataclasses"}
    # An import inside a function, and what runs when that module is imported.
    assert names("offcourse.one:g") == {"one": {"g"}, "three": {"late"}, "four": {"os.environ.setdefault('A', '1')"}}
    # A module that is handed on may be asked for anything.
    assert names("offcourse.one:h")["two"] == {
        "LIMIT",
        "TEXT",
        "TABLE",
        "Type",
        "used",
        "helper",
        "unused",
        "attribute",
    }
    with pytest.raises(ValueError, match="nothing"):
        reached.reached("offcourse.one:nothing")


CHANGES = [
    ("two", '"t"', '"u"', True),  # it is in the text of an error, but by a name
    ("one", "no {two.TEXT} here", "none of {two.TEXT}", False),
    ("one", "x: Type, job", "x: int, job: str", False),
    ("one", "y: Type = used(x)", "y: int = used(x)", False),
    ("one", "kind: Type", "kind: str", True),
    ("two", "class Type: pass", "class Type: a = 1", False),
    ("two", '"b": 2', '"b": 3', False),
    ("two", "pd.Series(x)", "pd.Index(x)", False),
    ("two", "np.abs(x)", "np.sign(x)", True),
    ("two", "import numpy as np", "import scipy as np", True),
    ("two", "LIMIT = 3", "LIMIT = 4", True),
    ("one", "LIMIT as most", "TEXT as most", True),
    ("three", "class Other: pass", "class Other: a = 1", False),
]


@pytest.mark.parametrize(
    ("module", "old", "new", "counts"), CHANGES, ids=[f"{old} {new}" for _, old, new, _ in CHANGES]
)
def test_what_counts_is_what_is_reached(package, module, old, new, counts):
    package(SOURCES)
    before = fingerprint.modules_behind("offcourse.one:f")
    assert old in SOURCES[module]
    package({module: SOURCES[module].replace(old, new)})
    assert (fingerprint.modules_behind("offcourse.one:f") != before) == counts


def test_a_text_in_an_error_does_not_count_and_a_text_in_a_result_does(package):
    """The same text: raised, returned, and raised by way of a name."""
    source = 'WHY = "b"\ndef f(x):\n    if x:\n        raise OffcourseError("a", WHY)\n    return {"a": x}\n'
    package({"one": source})
    before = fingerprint.modules_behind("offcourse.one:f")
    for old, new, counts in (
        ('("a"', '("z"', False),
        ("OffcourseError", "NoDataError", True),
        ('{"a"', '{"z"', True),
        ('"b"', '"z"', True),
    ):
        package({"one": source.replace(old, new)})
        assert (fingerprint.modules_behind("offcourse.one:f") != before) == counts, new


def test_texts_of_errors_end_in_no_result():
    """What catches one of our errors, in code that computes or shows results, keeps nothing of its text in them.

    The digest is blind to these texts, so every such place is looked at once and named here.
    """
    known = {
        # What its handler calls raises another error.
        ("data.tsv", "pa.errors.SchemaErrors"),
        ("files", "Exception"),
        # A pass that finds no memory is halved; the text goes to the log.
        ("engine.halving", "torch.OutOfMemoryError"),
        # The texts of this error end in the report, and count.
        ("claims.verdicts", "NoDataError"),
    }
    # Many targets reach the same statements; each is looked at once.
    code = {
        (module, each.node)
        for made in (*STEPS.values(), *PRODUCTS.values())
        for target in made.targets
        for module, statements in reached.reached(target).code.items()
        for each in statements
    }
    found = set()
    for module, handler in ((module, node) for module, statement in code for node in ast.walk(statement)):
        if not (isinstance(handler, ast.ExceptHandler) and handler.name):
            continue
        if not isinstance(handler.body[-1], ast.Raise):
            kept = [node for node in handler.body if not isinstance(node, ast.Raise)]
            texts = {node.id for each in kept for node in ast.walk(each) if isinstance(node, ast.Name)}
            if handler.name in texts:
                found.add((module.removeprefix("offcourse."), ast.unparse(handler.type)))
    assert found <= known, found - known


@pytest.fixture(scope="module")
def unedited(tmp_path_factory):
    """(a copy of our own package in which its statements are kept, `codes` of it)."""
    folder = tmp_path_factory.mktemp("unedited") / "offcourse"
    shutil.copytree(fingerprint.SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statements, "SOURCE", folder)
        for function in CACHED:
            function.cache_clear()
        found = codes()
        statements.keep()
    for function in CACHED:
        function.cache_clear()
    return folder, found


@pytest.fixture
def ours(unedited, package, tmp_path):
    """A copy of our own package that may be edited."""
    shutil.copytree(unedited[0], tmp_path / "src" / "offcourse")
    return package


def codes() -> dict[str, dict[str, str]]:
    """The code of every step and product."""
    found = {name: fingerprint.modules_behind(*step.targets) for name, step in STEPS.items()}
    return found | {name: fingerprint.modules_behind(*product.targets) for name, product in PRODUCTS.items()}


NOTHING = [
    ("errors.py", "class OffcourseError", "class NewError(Exception):\n    pass\n\n\nclass OffcourseError"),
    ("data/tasks.py", "it has {has} pairs", "there are {has} pairs"),
    ("data/names.py", 'PAPER = ("function_vectors",', 'PAPER = ("another", "function_vectors",'),
    ("data/tsv.py", "return cell\n", "return cell or None\n"),
    ("data/pins.py", '"repo": FILLED', '"repo": FILLED, "date": FILLED'),
    ("data/rows.py", "class Task:", "class Task:\n    more: int = 1\n"),
    ("data/architectures.py", '_llama_like("Llama"),', '_llama_like("Llama"), _llama_like("Phi3"),'),
    ("schemas/questions.py", "DOLA = ", "NEW = 1\nDOLA = "),
    ("schemas/function_vectors.py", "CIE = ", "NEW = 1\nCIE = "),
    ("study/config.py", "def load_study", "NEW = 1\n\n\ndef load_study"),
    ("store/shards.py", "class ShardStore", "NEW = 1\n\n\nclass ShardStore"),
]


@pytest.mark.parametrize(("file", "old", "new"), NOTHING, ids=[f"{file} {new[:20]}" for file, _, new in NOTHING])
def test_a_line_that_no_result_reads_makes_nothing_anew(ours, unedited, file, old, new):
    path = ours() / file
    before, text = unedited[1], path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    ours()
    after = codes()
    # The four methods of the paper are those that a model is checked for.
    expected = {"check_model"} if file == "data/names.py" else set()
    assert {name for name in before if before[name] != after[name]} == expected


def test_a_model_s_check_is_not_code_of_the_configuration_the_questions_or_the_store():
    read = fingerprint.modules_behind(*PRODUCTS["check_model"].targets)
    above = [name for name in read if name.split(".")[1] in ("study", "store", "settings", "steering")]
    # A prepared folder's notes are sealed, and the check reads them.
    assert above == ["offcourse.store.sealed_json"]
    assert not {"offcourse.data.questions", "offcourse.data.registry", "offcourse.run.job"} & read.keys()
    assert "offcourse.models.load" in read


def test_what_is_reached_is_what_is_imported():
    """Another way to the same end: grimp's graph of imports has every module that is reached."""
    graph = grimp.build_graph("offcourse", cache_dir=None)
    for name, step in STEPS.items():
        targets = {target.split(":")[0] for target in step.targets}
        closure = targets.union(*(graph.find_upstream_modules(target) for target in targets))
        assert fingerprint.modules_behind(*step.targets).keys() <= closure, name


def digests() -> dict[str, str]:
    return fingerprint.modules_behind("offcourse.one:f")


def test_what_was_kept_gives_the_digests_of_what_is_parsed(package):
    folder = package(SOURCES)
    parsed = digests()
    statements.keep()
    [kept] = (folder / "__pycache__").glob("statements.*.pickle")
    package()
    assert statements._kept().keys() >= {f"offcourse.{name}" for name in ("one", "two")}
    assert digests() == parsed and not statements._NEW
    kept.unlink()
    package()
    assert digests() == parsed
    statements.keep()
    assert kept.exists()


@pytest.mark.parametrize("damage", ["cut", "turned", "emptied", "another Python's"])
def test_a_kept_file_that_is_not_whole_is_parsed_anew(package, damage, monkeypatch):
    folder = package(SOURCES)
    parsed = digests()
    statements.keep()
    [kept] = (folder / "__pycache__").glob("statements.*.pickle")
    content = kept.read_bytes()
    if damage == "another Python's":
        monkeypatch.setattr(statements.sys, "version", "4.0")
    else:
        middle = len(content) // 2
        turned = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        kept.write_bytes({"cut": content[:middle], "turned": turned, "emptied": b""}[damage])
    package()
    assert statements._kept() == {}
    assert digests() == parsed


def test_a_module_that_is_edited_or_added_is_seen(package):
    """A new module can make an imported name mean a module instead of a name in one."""
    package(SOURCES)
    before = digests()
    package({"two": SOURCES["two"].replace('"b": 2', '"b": 3').replace("LIMIT = ", "LIMIT = 1 + ")})
    edited = digests()
    assert edited != before
    package({"two": SOURCES["two"]})
    assert digests() == before
    package({"a": "from offcourse.b import c\ndef f():\n    return c\n", "b/__init__": "c = 1\n"})
    assert set(fingerprint.modules_behind("offcourse.a:f")) == {"offcourse.a", "offcourse.b"}
    package({"b/c": "X = 1\n"})
    assert "offcourse.b.c" in fingerprint.modules_behind("offcourse.a:f")


def test_a_folder_that_cannot_be_written_is_parsed_every_time(package, monkeypatch):
    package(SOURCES)
    before = digests()

    def refused(path, write):
        raise OffcourseError(f"{path}: the disk is full")

    monkeypatch.setattr(statements, "write_whole", refused)
    package({"one": SOURCES["one"] + "\nZ = 1\n"})
    assert digests() == before
    statements.keep()
