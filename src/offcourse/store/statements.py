"""The statements of the package's modules: what each defines, uses and imports.

Parsing takes a second for the whole package, and every start of Snakemake and every job asks for it. What was parsed is
therefore kept in `__pycache__`, like Python's own bytecode, under the digest of the module's text.
"""

import ast
import atexit
import contextlib
import gc
import hashlib
import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from offcourse.errors import OffcourseError
from offcourse.files import write_whole

PACKAGE = "offcourse"
SOURCE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, eq=False)
class Statement:
    """One statement at the top of a module, or a method of a class there.

    line: where it begins. text: the statement without layout and comments. names: the names that it uses, as (name,
    first attribute or ""). direct: (module, attribute) of imports inside the statement. methods: of a class.
    """

    module: str
    line: int
    text: str
    names: frozenset[tuple[str, str]]
    direct: frozenset[tuple[str, str]]
    methods: "dict[str, Statement]"

    @cached_property
    def node(self) -> ast.stmt:
        """The statement's syntax tree, which is not kept and parsed anew."""
        return next(node for node in _nodes(self.module)[self.line] if ast.dump(node) == self.text)


@dataclass(frozen=True)
class Source:
    """The statements of one module.

    definitions: {name: statements that bind the name}. effects: statements that do something else on import.
    imports: {imported name: (module, attribute)}; the attribute is "" where the name means the module.
    imported: the modules of the package that an import of this module imports.
    """

    definitions: dict[str, list[Statement]] = field(default_factory=dict)
    effects: list[Statement] = field(default_factory=list)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)


def source_of(module: str) -> Path:
    """The file of a module of the package."""
    path = SOURCE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def is_package(module: str) -> bool:
    """Whether a module of the package is a folder's `__init__`."""
    return source_of(module).name == "__init__.py"


@cache
def is_module(name: str) -> bool:
    """Whether the package has a module of this name."""
    return name.split(".")[0] == PACKAGE and source_of(name).exists()


def bare(tree: ast.Module) -> ast.Module:
    """The tree without parts that no result depends on: docstrings, annotations in functions, texts of our own errors.

    A job that raises an `OffcourseError` has no result, so the text of the error cannot change one.
    """
    return _Bare().visit(tree)


class _Bare(ast.NodeTransformer):
    _inside = 0  # functions around the node

    def visit_Module(self, node):
        return self._documented(node)

    def visit_ClassDef(self, node):
        return self._documented(node)

    def visit_FunctionDef(self, node):
        node.returns = None
        spec = node.args
        for each in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg):
            if each is not None:
                each.annotation = None
        self._inside += 1
        node = self._documented(node)
        self._inside -= 1
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_AnnAssign(self, node):
        if self._inside:
            node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_Raise(self, node):
        if getattr(getattr(node.exc, "func", None), "id", "") != "OffcourseError":
            return self.generic_visit(node)
        for part in ast.walk(node.exc):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                part.value = ""
            elif isinstance(part, ast.JoinedStr):
                # The words of an f-string go, its expressions stay.
                part.values = [value for value in part.values if not isinstance(value, ast.Constant)]
        return node

    def _documented(self, node):
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)


@cache
def parsed(module: str) -> Source:
    """The statements of a module of the package."""
    text = source_of(module).read_bytes()
    digest = hashlib.sha256(text).hexdigest()
    known = _kept()
    if module not in known or known[module][0] != digest:
        known[module] = digest, _parse(module, text)
        if not _NEW:
            # Once, at the end of the process: a step reaches new modules again and again.
            atexit.register(keep)
        _NEW.add(module)
    return known[module][1]


@cache
def _nodes(module: str) -> dict[int, list[ast.stmt]]:
    """{line: the statements that begin there}, at any depth."""
    found: dict[int, list[ast.stmt]] = {}
    for node in ast.walk(bare(ast.parse(source_of(module).read_bytes()))):
        if isinstance(node, ast.stmt) and hasattr(node, "lineno"):
            found.setdefault(node.lineno, []).append(node)
    return found


def _parse(module: str, text: bytes) -> Source:
    found = Source()
    with _without_collection():
        _sort(found, module, bare(ast.parse(text)).body)
    return found


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Syntax trees are many small objects that live on; looking for garbage among them takes a third of the time."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()


# Modules that this process has parsed because they were not kept.
_NEW: set[str] = set()


def _kept_file() -> Path:
    return SOURCE / "__pycache__" / f"statements.{sys.implementation.cache_tag}.pickle"


@cache
def _asked() -> bytes:
    """A digest of what the statements depend on beside their module's text.

    That is Python, this file, and which modules there are: an import means a module or a name in one.
    """
    modules = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))
    text = f"{sys.version} {hashlib.sha256(Path(__file__).read_bytes()).hexdigest()} {modules}"
    return hashlib.sha256(text.encode()).digest()


@cache
def _kept() -> dict[str, tuple[str, Source]]:
    """{module: (digest of its text, its statements)} of earlier processes; {} for a file that is not whole."""
    with contextlib.suppress(OSError):
        content = _kept_file().read_bytes()
        asked, sealed, body = content[:32], content[32:64], content[64:]
        if asked == _asked() and sealed == hashlib.sha256(body).digest():
            with _without_collection():
                return pickle.loads(body)
    return {}


def keep() -> None:
    """Keep what this process has parsed for later ones. Where the folder cannot be written, each parses anew."""
    if not _NEW:
        return
    _NEW.clear()
    body = pickle.dumps(_kept())
    content = _asked() + hashlib.sha256(body).digest() + body
    with contextlib.suppress(OffcourseError):
        write_whole(_kept_file(), lambda path: path.write_bytes(content))


def _statement(module: str, node: ast.stmt) -> Statement:
    uses = _Uses(module)
    uses.visit(node)
    methods = {}
    if isinstance(node, ast.ClassDef):
        methods = {each.name: _statement(module, each) for each in node.body if hasattr(each, "name")}
    return Statement(module, node.lineno, ast.dump(node), frozenset(uses.names), frozenset(uses.direct), methods)


def _sort(found: Source, module: str, body: list[ast.stmt]) -> None:
    for each in body:
        if isinstance(each, ast.Import | ast.ImportFrom):
            for name, origin in _imports(each, module):
                found.imports[name] = origin
                found.imported.update(modules_of(*origin))
        elif isinstance(each, ast.If) and _for_types(each.test):
            _sort(found, module, each.orelse)
        elif names := _bound(each):
            statement = _statement(module, each)
            for name in names:
                found.definitions.setdefault(name, []).append(statement)
        elif not isinstance(each, ast.Pass):
            statement = _statement(module, each)
            found.effects.append(statement)
            # A name bound inside a loop or a condition stands for the whole statement, which runs on import anyway.
            for node in ast.walk(each):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    found.definitions.setdefault(node.id, []).append(statement)
                elif isinstance(node, ast.Import | ast.ImportFrom):
                    found.imports.update(_imports(node, module))


def _for_types(test: ast.expr) -> bool:
    return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"


def _bound(statement: ast.stmt) -> list[str]:
    """The names that a definition or a plain assignment binds; [] for a statement that does anything else."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign):
        targets = [statement.target]
    else:
        return []
    parts = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return [part.id for part in parts] if all(isinstance(part, ast.Name) for part in parts) else []


def _imports(statement: ast.Import | ast.ImportFrom, module: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """(name, (module, attribute)) of each name that an import binds."""
    for alias in statement.names:
        if isinstance(statement, ast.Import):
            yield alias.asname or alias.name.split(".")[0], (alias.name, "")
            continue
        origin = statement.module or ""
        if statement.level:
            parents = module.split(".")
            parents = parents[: len(parents) - statement.level + is_package(module)]
            origin = ".".join([*parents, *filter(None, [origin])])
        if is_module(f"{origin}.{alias.name}"):
            yield alias.asname or alias.name, (f"{origin}.{alias.name}", "")
        else:
            yield alias.asname or alias.name, (origin, alias.name)


def modules_of(module: str, attribute: str) -> Iterator[str]:
    """The module and its parent packages: an import of the module runs all of them. Nothing for a foreign module."""
    while is_module(module):
        yield module
        module = module.rpartition(".")[0]


def _is_dataclass(node: ast.ClassDef) -> bool:
    names = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
    return any(getattr(name, "id", getattr(name, "attr", "")) == "dataclass" for name in names)


class _Uses(ast.NodeVisitor):
    """The names that a statement uses, as (name, first attribute or ""), and the imports inside the statement."""

    def __init__(self, module: str):
        self.names: set[tuple[str, str]] = set()
        self.direct: set[tuple[str, str]] = set()
        self._module, self._typed = module, False

    def visit_Name(self, node):
        self.names.add((node.id, ""))

    def visit_Attribute(self, node):
        if isinstance(node.value, ast.Name):
            self.names.add((node.value.id, node.attr))
        else:
            self.visit(node.value)

    def visit_ClassDef(self, node):
        # pydantic evaluates a class's annotations, so their names count. A dataclass uses only their text, which the
        # statement itself holds.
        outer, self._typed = self._typed, not _is_dataclass(node)
        self.generic_visit(node)
        self._typed = outer

    def visit_FunctionDef(self, node):
        outer, self._typed = self._typed, False
        self.generic_visit(node)
        self._typed = outer

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_AnnAssign(self, node):
        for part in (node.target, node.value, node.annotation if self._typed else None):
            if part is not None:
                self.visit(part)

    def visit_Import(self, node):
        self.direct.update(origin for _, origin in _imports(node, self._module))

    visit_ImportFrom = visit_Import  # noqa: N815
