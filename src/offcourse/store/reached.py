"""Which definitions of the package a function can reach: the code that its result is a function of.

A module is more than a function needs of it: a table that names every method, the schema of another table. So the
unit is the definition, a statement at the top of a module. A definition reaches the definitions whose names it uses,
in its own module or by way of an import. Code that runs when a module is imported counts as soon as anything that is
reached imports the module. Annotations and imports under TYPE_CHECKING reach nothing, since nothing runs them.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

PACKAGE = "offcourse"
SOURCE = Path(__file__).resolve().parents[1]
WHOLE = "*"  # in the place of a definition's name: all of a module

# What these give is in keys by value (`graph.keys`, the view of a table or figure), so that their code is not: facts of
# a class, rows of tracked tables, words and questions of ours, files with a pinned sha256. As "module:name".
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
    """One module. Statements of `definitions` bind a name; `effects` do something when the module is imported.

    imports: what a name at the top of the module means, as (module, attribute); the attribute is "" for a module.
    imported: the modules that are imported with this one.
    """

    definitions: dict[str, list[Statement]] = field(default_factory=dict)
    effects: list[Statement] = field(default_factory=list)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)


@dataclass
class Reached:
    """What some targets reach.

    code: the statements, by module. links: by module, what its imported names mean. packages: import names of the
    packages of others that the statements use.
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
    """The tree without what no result depends on: docstrings, annotations in functions, texts of our own errors.

    The text of an `OffcourseError` reaches whoever reads the message, and the job has no result then.
    """
    return ast.fix_missing_locations(_Bare().visit(tree))


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
                # Of an f-string's words nothing stays, of its expressions all.
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
    _sort(found, module, bare(ast.parse(path.read_text(encoding="utf-8"))).body)
    return found


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
            # What a loop or a condition binds is known by the whole statement, which runs on import in any case.
            for node in ast.walk(each):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    found.definitions.setdefault(node.id, []).append(statement)
                elif isinstance(node, ast.Import | ast.ImportFrom):
                    found.imports.update(_imports(node, module))


def _for_types(test: ast.expr) -> bool:
    return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"


def _bound(statement: ast.stmt) -> list[str]:
    """The names that a statement binds and that is all it does: a definition, an assignment to names."""
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
    """A module of the package, with the packages that it sits in: importing it runs all of them."""
    while is_module(module):
        yield module
        module = module.rpartition(".")[0]


def _is_dataclass(node: ast.ClassDef) -> bool:
    names = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
    return any(getattr(name, "id", getattr(name, "attr", "")) == "dataclass" for name in names)


class _Uses(ast.NodeVisitor):
    """The names that a statement uses, each with its first attribute ("" for the name alone), and its own imports."""

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
        # What a dataclass makes of an annotation is in its text; a class of pydantic runs its annotations.
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
    """What `targets` reach: "module:function", "module:Class.method", or "module" for all of a module.

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
    """Run on import: the effects of a module, and those of every module that is imported with it."""
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
    """Where a name that a module imported comes from."""
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
    # A name that the module has by other ways, such as a star, is not followed but taken for all of the module.
    return [(origin, attribute if attribute in known.definitions or attribute in known.imports else WHOLE)]
