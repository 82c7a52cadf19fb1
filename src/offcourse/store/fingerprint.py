"""Digests of the code that a step runs: of its syntax trees, blind to comments, docstrings and formatting."""

import ast
import gc
import hashlib
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from offcourse import STARTED
from offcourse.errors import OffcourseError
from offcourse.store.reached import reached
from offcourse.store.statements import SOURCE, bare, source_of

# Packages whose versions can change a number or a figure ("counted" packages), with the name that code imports.
COUNTED = {
    "numpy": "numpy",
    "scipy": "scipy",
    "pandas": "pandas",
    "pyarrow": "pyarrow",
    "datasets": "datasets",
    "scikit-learn": "sklearn",
    "statsmodels": "statsmodels",
    "torch": "torch",
    "transformers": "transformers",
    "tokenizers": "tokenizers",
    "safetensors": "safetensors",
    "accelerate": "accelerate",
    "gguf": "gguf",
    "matplotlib": "matplotlib",
    "seaborn": "seaborn",
    "pillow": "PIL",
    "jinja2": "jinja2",
    "pypdf": "pypdf",
    "rocrate": "rocrate",
}
# Exceptions to what packages declare. USES: counted packages that a package computes with but does not require.
# ASIDE: packages that others require but do not compute with.
USES = {"pandas": {"pyarrow"}, "transformers": {"torch", "accelerate"}}
ASIDE = {"jinja2"}


# Cached: `importlib.metadata` reads the package's files at each call, and every job asks for every version.
@cache
def _version(package: str) -> str:
    return _told(importlib.metadata.version, package)


def _told(ask: Callable, package: str):
    """`ask(package)`, a question about an installed package. Raises `OffcourseError` if the package is missing."""
    try:
        return ask(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise OffcourseError(
            f"the package {package} is not installed for {sys.executable}, so this environment is older than "
            "requirements.lock, or of another project. Run `make install` in the checkout, or "
            "`python -m pip install -r requirements.lock` in this environment."
        ) from error


@cache
def _needed(package: str) -> frozenset[str]:
    """`package` and all counted packages that it requires, directly or through others."""
    required = _told(importlib.metadata.requires, package) or []
    names = {re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in required if "extra ==" not in line}
    names = (names & COUNTED.keys()) - ASIDE | USES.get(package, set())
    return frozenset({package}).union(*(_needed(name) for name in names - {package}))


@cache
def modules_behind(*targets: str) -> dict[str, str]:
    """{module: digest of those definitions of the module that `targets` reach}, see `store.reached`.

    targets: "module:function", "module:Class.method" or "module".
    """
    found = reached(*targets)
    digests = {}
    for module in sorted(found.code.keys() | found.links.keys()):
        statements = sorted(found.code.get(module, ()), key=lambda statement: statement.line)
        text = [*(statement.text for statement in statements), *sorted(found.links.get(module, ()))]
        digests[module] = hashlib.sha256("\n".join(text).encode()).hexdigest()
    return digests


def source_digest(source: str) -> str:
    """Digest of a source text that comments, docstrings, blank lines and layout do not change."""
    return hashlib.sha256(ast.dump(bare(ast.parse(source))).encode()).hexdigest()


@cache
def script_digest(rule: str) -> str:
    """Digest of the script of a rule in this checkout; empty where there is none."""
    path = SOURCE.parents[1] / "workflow" / "scripts" / f"{rule}.py"
    return source_digest(path.read_text(encoding="utf-8"))[:16] if path.exists() else ""


# Modules that this process has imported and digested, unchanged since the process began.
_FROZEN: set[str] = set()


def freeze_imports(modules: Iterable[str]) -> None:
    """Import and digest `modules` now, so that this process runs exactly the code that its record names.

    An edit made after this call changes neither the imported code nor the digest. Raises `OffcourseError` naming a
    module whose file changed after this process began, since imported and digested code may then differ.
    """
    modules = sorted(set(modules) - _FROZEN)
    for module in modules:
        importlib.import_module(module)
    edited = [module for module in modules if _changed(source_of(module)) > STARTED]
    if edited:
        raise OffcourseError(
            f"{', '.join(edited)} changed while this job was starting, so it is not clear which code would run. "
            "Nothing was computed; run the same command again."
        )
    _FROZEN.update(modules)
    # They stay. Drawing makes objects by the hundred thousand, and each search for unused objects among them would look
    # at all that was imported, too.
    gc.freeze()


def _changed(path: Path) -> float:
    status = path.stat()
    return max(status.st_mtime, status.st_ctime)


def require_packages() -> None:
    """Raise `OffcourseError` naming a counted package that is not installed in this environment."""
    for package in COUNTED:
        _version(package)


@cache
def versions_behind(*targets: str) -> dict[str, str]:
    """Versions of the counted packages that the code behind `targets` imports, and of the packages these require."""
    used = [package for package, name in COUNTED.items() if name in reached(*targets).packages]
    return {package: _version(package) for package in sorted(frozenset().union(*map(_needed, used)))}


@cache
def fingerprint(*targets: str) -> str:
    """One digest for the code and the versions of packages behind `targets`, for a rule's `params`."""
    text = repr((modules_behind(*targets), versions_behind(*targets)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
