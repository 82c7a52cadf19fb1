"""Which definitions of the package a function can reach: the code that the function's result depends on.

Digests are taken per definition (a statement at the top of a module) and not per module, since a module also holds code
that a function does not need, such as the schema of another table. A definition reaches every definition whose name the
definition uses, in its own module or through an import. Statements that run on import count as soon as a reached
definition imports their module. Annotations and imports under TYPE_CHECKING reach nothing, since they do not run.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from offcourse.store.statements import PACKAGE, Statement, is_module, is_package, modules_of, parsed

WHOLE = "*"  # stands for a definition's name and means every definition of the module

# "module:name" of definitions whose code is in no key, because keys hold the values that they return (`graph.keys`, and
# the view of a table or figure): facts of a class, rows of tracked tables, our own words and questions, pinned files.
BY_VALUE = frozenset(
    {
        "offcourse.data.architectures:ARCHITECTURES",
        "offcourse.data.architectures:rows_of_classes",
        "offcourse.data.architectures:require_sound_class",
        "offcourse.data.registry:Registry",
        "offcourse.data.tasks:own_pairs",
        "offcourse.data.questions:own_questions",
        "offcourse.data.questions:primer",
        "offcourse.data.release_files:release_file",
    }
)


@dataclass
class Reached:
    """What some targets reach.

    code: {module: statements}. links: {module: what the module's imported names mean}, one line of text per name.
    packages: import names of the third-party packages that the statements use.
    """

    code: dict[str, set[Statement]] = field(default_factory=dict)
    links: dict[str, set[str]] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)


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
        again = set(parsed(module).imports) if name == WHOLE and is_package(module) else {name}
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
    for statement in known.definitions[owner]:
        if method in statement.methods:
            return [statement.methods[method]]
    raise ValueError(f"{module}:{owner} has no {method}")


def _enter(found: Reached, seen: set, module: str) -> list[tuple[str, str]]:
    """Include what runs on import: the effects of `module` and of every module that its import imports."""
    todo, modules = [], [*modules_of(module, "")]
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
    for name, attribute in statement.names:
        if name in parsed(module).definitions:
            todo.append((module, name))
        if name in parsed(module).imports:
            todo += _follow(found, module, name, attribute)
    for origin, attribute in statement.direct:
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
