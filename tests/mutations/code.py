"""Checks that the code which ran while a result was computed is in the result's key; `world.Trace` notes what ran."""

from functools import cache
from pathlib import Path

from offcourse.graph.keys import STEPS
from offcourse.graph.products import PRODUCTS
from offcourse.store.reached import BY_VALUE, reached
from offcourse.store.statements import PACKAGE, SOURCE, parsed

# Code that ran and is in no key: what it gives is in the key by value (the configuration, names of files), or it is the
# machinery around a result.
VALUES = ("study.config", "layout", "graph.", "run.")


def uncounted(ran: dict[str, list[str]]) -> list[str]:
    """Functions that ran for a result of a step without being in its code, as "step: module:function"."""
    return sorted({f"{name}: {where}" for name, places in ran.items() for where in _missing(name, places)})


@cache
def _behind_values() -> dict[str, set]:
    """The code of what keys hold by value, and all that this code uses."""
    found: dict[str, set] = {}
    for module, name in (each.split(":") for each in BY_VALUE):
        statements = parsed(module).definitions[name]
        found.setdefault(module, set()).update(statements)
        for used in {used for each in statements for used, _ in each.names}:
            if used in parsed(module).definitions or used in parsed(module).imports:
                for other, code in reached(f"{module}:{used}").code.items():
                    found.setdefault(other, set()).update(code)
    return found


def _missing(name: str, places: list[str]):
    targets = STEPS[name].targets if name in STEPS else PRODUCTS[name].targets
    code = reached(*targets).code
    for place in places:
        path, _, line = place.rpartition(":")
        if not (path.endswith(".py") and Path(path).is_relative_to(SOURCE)):
            continue
        module = ".".join([PACKAGE, *Path(path).relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__")
        short = module.removeprefix(f"{PACKAGE}.")
        if short.startswith(VALUES) or any(
            _holds(each, int(line)) for each in (*code.get(module, ()), *_behind_values().get(module, ()))
        ):
            continue
        named = [name for name, of in parsed(module).definitions.items() if any(_holds(each, int(line)) for each in of)]
        yield f"{short}:{named[0] if named else line}"


def _holds(statement, line: int) -> bool:
    node = statement.node
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
    return first <= line <= node.end_lineno
