"""Which definitions of the package a function can reach: the code that the function's result depends on.

Digests are taken per definition (a statement at the top of a module) and not per module, since a module also holds code
that a function does not need, such as the schema of another table. A definition reaches every definition whose name the
definition uses, in its own module or through an import. Statements that run on import count as soon as a reached
definition imports their module. Annotations and imports under TYPE_CHECKING reach nothing, since they do not run.
"""

import ast
import contextlib
import gc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

PACKAGE = "offcourse"
SOURCE = Path(__file__).resolve().parents[1]
WHOLE = "*"  # stands for a definition's name and means every definition of the module

# "module:name" of definitions whose code is in no key, because keys hold the values that they return (`graph.keys`, and
# the view of a table or figure): facts of a class, rows of tracked tables, our own words and questions, pinned files.
BY_VALUE = frozenset(
    {
        "offcourse.data.architectures:ARCHITECTURES",
        "offcourse.data.registry:Registry",
        "offcourse.data.tasks:own_pairs",
        "offcourse.data.questions:own_questions",
        "offcourse.data.questions:primer",
        "offcourse.data.release_files:release_file",
    }
)


@dataclass(frozen=True, eq=False)
class Statement:
    """One statement at the top of a module."""

    module: str
    node: ast.stmt

    @cached_property
    def text(self) -> str:
        """The statement without layout and comments."""
        return ast.dump(self.node)

    @cached_property
    def uses(self) -> "_Uses":
        """The names that the statement uses."""
        uses = _Uses(self.module)
        uses.visit(self.node)
        return uses


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


@dataclass
class Reached:
    """What some targets reach.

    code: {module: statements}. links: {module: what the module's imported names mean}, one line of text per name.
    packages: import names of the third-party packages that the statements use.
    """

    code: dict[str, set[Statement]] = field(default_factory=dict)
    links: dict[str, set[str]] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)


def source_of(module: str) -> Path:
    """The file of a module of the package."""
    path = SOURCE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _is_package(module: str) -> bool:
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
    path = source_of(module)
    found = Source()
    with _without_collection():
        _sort(found, module, bare(ast.parse(path.read_text(encoding="utf-8"))).body)
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


def _sort(found: Source, module: str, body: list[ast.stmt]) -> None:
    for each in body:
        statement = Statement(module, each)
        if isinstance(each, ast.Import | ast.ImportFrom):
            for name, origin in _imports(each, module):
                found.imports[name] = origin
                found.imported.update(_modules_of(*origin))
        elif isinstance(each, ast.If) and _for_types(each.test):
            _sort(found, module, each.orelse)
        elif names := _bound(each):
            for name in names:
                found.definitions.setdefault(name, []).append(statement)
        elif not isinstance(each, ast.Pass):
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
            parents = parents[: len(parents) - statement.level + _is_package(module)]
            origin = ".".join([*parents, *filter(None, [origin])])
        if is_module(f"{origin}.{alias.name}"):
            yield alias.asname or alias.name, (f"{origin}.{alias.name}", "")
        else:
            yield alias.asname or alias.name, (origin, alias.name)


def _modules_of(module: str, attribute: str) -> Iterator[str]:
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


@cache
def reached(*targets: str) -> Reached:
    """The code that `targets` reach, followed through names and imports.

    targets: "module:function", "module:Class.method", or "module" for every definition of the module.
    Raises `ValueError` for a target that the package does not have.
    """
    found, seen = Reached(), set()
    todo: list[tuple[str, str]] = []
    for target in targets:
        module, _, name = target.partition(":")
        if not is_module(module) or (
            name and name.split(".")[0] not in {**parsed(module).definitions, **parsed(module).imports}
        ):
            raise ValueError(f"{target} is not in the package {PACKAGE}")
        todo.append((module, name or WHOLE))
    while todo:
        module, name = todo.pop()
        if (module, name) in seen:
            continue
        seen.add((module, name))
        todo += _enter(found, seen, module)
        for statement in _statements(module, name):
            todo += _include(found, module, statement)
        again = set(parsed(module).imports) if name == WHOLE and _is_package(module) else {name}
        for each in again & parsed(module).imports.keys():
            todo += _follow(found, module, each, "")
    return found


def _statements(module: str, name: str) -> Iterable[Statement]:
    known = parsed(module)
    if name == WHOLE:
        return [statement for statements in known.definitions.values() for statement in statements]
    if f"{module}:{name}" in BY_VALUE:
        return []
    owner, _, method = name.partition(".")
    if not method:
        return known.definitions.get(name, [])
    return [_method(module, owner, method)]


@cache
def _method(module: str, owner: str, method: str) -> Statement:
    """One method of a class. Raises `ValueError` when the class has none of this name."""
    for statement in parsed(module).definitions[owner]:
        for each in getattr(statement.node, "body", ()):
            if getattr(each, "name", "") == method:
                return Statement(module, each)
    raise ValueError(f"{module}:{owner} has no {method}")


def _enter(found: Reached, seen: set, module: str) -> list[tuple[str, str]]:
    """Include what runs on import: the effects of `module` and of every module that its import imports."""
    todo, modules = [], [*_modules_of(module, "")]
    while modules:
        each = modules.pop()
        if (each, "") in seen:
            continue
        seen.add((each, ""))
        for statement in parsed(each).effects:
            todo += _include(found, each, statement)
        modules += parsed(each).imported
    return todo


def _include(found: Reached, module: str, statement: Statement) -> list[tuple[str, str]]:
    kept = found.code.setdefault(module, set())
    if statement in kept:
        return []
    kept.add(statement)
    todo = []
    for name, attribute in statement.uses.names:
        if name in parsed(module).definitions:
            todo.append((module, name))
        if name in parsed(module).imports:
            todo += _follow(found, module, name, attribute)
    for origin, attribute in statement.uses.direct:
        found.links.setdefault(module, set()).add(f"{origin} {attribute}")
        todo += _origin(found, origin, attribute)
    return todo


def _follow(found: Reached, module: str, name: str, attribute: str) -> list[tuple[str, str]]:
    """Record where an imported name comes from, and return the definition to visit there."""
    origin, imported = parsed(module).imports[name]
    found.links.setdefault(module, set()).add(f"{name} = {origin} {imported}")
    return _origin(found, origin, imported or attribute)


def _origin(found: Reached, origin: str, attribute: str) -> list[tuple[str, str]]:
    if not is_module(origin):
        found.packages.add(origin.split(".")[0])
        return []
    if not attribute:
        return [(origin, WHOLE)]
    if is_module(f"{origin}.{attribute}"):
        return [(f"{origin}.{attribute}", WHOLE)]
    known = parsed(origin)
    # A name that the module binds some other way, such as by a star import, stands for the whole module.
    return [(origin, attribute if attribute in known.definitions or attribute in known.imports else WHOLE)]
