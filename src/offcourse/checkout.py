"""The package of one checkout refuses to work on another checkout's files.

Keys hold digests of the package's modules and of the scripts beside it. With the package of one checkout and the
workflow of another, results would be recorded as made by code that did not make them.
"""

import sys
from pathlib import Path

from offcourse.errors import OffcourseError

PACKAGE = Path(__file__).resolve().parent


def checkout_of(folder: Path) -> Path | None:
    """The innermost checkout of Offcourse that contains `folder`, or None."""
    folder = folder.resolve()
    for place in (folder, *folder.parents):
        if (place / "Snakefile").exists() and (place / "src" / "offcourse" / "__init__.py").exists():
            return place
    return None


def require_own(folder: Path) -> None:
    """Raise `OffcourseError` if `folder` is in a checkout, but not in the checkout of this package.

    A folder outside every checkout, such as a working directory given with `--directory`, is allowed.
    """
    checkout = checkout_of(folder)
    if checkout and PACKAGE != checkout / "src" / "offcourse":
        raise OffcourseError(
            f"{checkout} is a checkout, but {sys.executable} imports the package from {PACKAGE}. Use the checkout's "
            f"own: `make install` in {checkout}, and then its .venv/bin (or `pip install --no-deps --editable "
            f"{checkout}` into this environment)."
        )
