"""What code a step runs: a digest of the syntax trees behind it, blind to comments, docstrings and formatting."""

import ast
import hashlib
import importlib
import importlib.metadata
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import grimp

from offcourse import STARTED
from offcourse.errors import OffcourseError

PACKAGE = "offcourse"
SOURCE = Path(__file__).resolve().parents[1]

# Packages whose versions can change a number; only those that a step's code imports enter its key.
NUMERICAL = ("numpy", "torch", "transformers", "scikit-learn", "scipy", "pandas", "tokenizers", "statsmodels")
IMPORT_NAMES = {"scikit-learn": "sklearn"}


# Read from the package's files each time, and asked for by every job of a study.
_version = cache(importlib.metadata.version)


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(PACKAGE, include_external_packages=True, cache_dir=None)


@cache
def _closure(module: str) -> frozenset[str]:
    """`module` and every module of the package that it imports, directly or not, with the packages they sit in."""
    graph = _graph()
    if module not in graph.modules:
        raise ValueError(f"{module} is not a module of {PACKAGE}")
    found = {module} | {name for name in graph.find_upstream_modules(module) if name.split(".")[0] == PACKAGE}
    return frozenset(found)


@cache
def module_digest(module: str) -> str:
    """Digest of one module's syntax tree."""
    return source_digest(_source_of(module).read_text(encoding="utf-8"))


def _source_of(module: str) -> Path:
    path = SOURCE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def source_digest(source: str) -> str:
    """Digest of a source text that comments, docstrings, blank lines and layout do not change."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree, include_attributes=False).encode()).hexdigest()


@cache
def script_digest(rule: str) -> str:
    """Digest of the script of a rule in this checkout; empty where there is none."""
    path = SOURCE.parents[1] / "workflow" / "scripts" / f"{rule}.py"
    return source_digest(path.read_text(encoding="utf-8"))[:16] if path.exists() else ""


def _reached(targets: tuple[str, ...]) -> list[str]:
    return sorted(set().union(*(_closure(target.split(":")[0]) for target in targets)))


def modules_behind(*targets: str) -> dict[str, str]:
    """Digest of each module that any of `targets` ("module:function" or "module") can reach."""
    return {name: module_digest(name) for name in _reached(targets)}


# Modules that this process has imported and digested, unchanged since the process began.
_FROZEN: set[str] = set()


def freeze_imports(modules: Iterable[str]) -> None:
    """Import and digest `modules` now, so that this process computes with the code that its record names.

    An edit made later changes neither the imported code nor the digest. Raises `OffcourseError` naming a module whose
    file changed after this process began: the code that was imported may differ from the code that was digested.
    """
    modules = sorted(set(modules) - _FROZEN)
    for module in modules:
        importlib.import_module(module)
        module_digest(module)
    edited = [module for module in modules if _changed(_source_of(module)) > STARTED]
    if edited:
        raise OffcourseError(
            f"{', '.join(edited)} changed while this job was starting, so it is not clear which code would run. "
            "Nothing was computed; run the same command again."
        )
    _FROZEN.update(modules)


def _changed(path: Path) -> float:
    status = path.stat()
    return max(status.st_mtime, status.st_ctime)


def versions_behind(*targets: str) -> dict[str, str]:
    """Versions of the numerical packages that the code behind `targets` imports."""
    graph = _graph()
    imported = {
        name.split(".")[0] for module in _reached(targets) for name in graph.find_modules_directly_imported_by(module)
    }
    return {package: _version(package) for package in NUMERICAL if IMPORT_NAMES.get(package, package) in imported}


@cache
def fingerprint(target: str) -> str:
    """One digest for the code and the numerical versions behind `target`, for a rule's `params`."""
    text = repr((modules_behind(target), versions_behind(target)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
