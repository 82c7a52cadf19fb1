"""The authors' numbers as they travel with the repository, below `resources/released/`: which files, each checked.

`digests.tsv` there has the sha256 of every file. `published.packed` writes and reads the tables in them.
"""

from functools import cache
from pathlib import Path

from offcourse.data.names import RESOURCES
from offcourse.data.tsv import read_tsv
from offcourse.errors import OffcourseError
from offcourse.files import known_sha256

FOLDER = "released"
ORIGINS, DIGESTS = "origins.parquet", "digests.tsv"
AGAIN = "Restore it from the repository (git checkout)."


def folder(resources: Path = RESOURCES) -> Path:
    """The folder of the packed files."""
    return Path(resources) / FOLDER


@cache
def digests(resources: Path = RESOURCES) -> dict[str, str]:
    """sha256 of every packed file, by its path below the folder."""
    return dict(read_tsv(folder(resources) / DIGESTS)[["file", "sha256"]].itertuples(index=False))


def converted(resources: Path = RESOURCES) -> list[Path]:
    """The files that hold the converted tables of the release, and what each table was made from."""
    return [folder(resources) / name for name in sorted(digests(resources)) if "/" not in name]


def shown(resources: Path = RESOURCES) -> list[Path]:
    """The tables and the numbers of figures that were made from the converted tables, for the reports of studies."""
    return [folder(resources) / name for name in sorted(digests(resources)) if "/" in name]


def damage(path: Path, resources: Path = RESOURCES) -> str:
    """What is wrong with a packed file; empty for one that is whole, and for a file that is none of them."""
    place = folder(resources).absolute()
    if not Path(path).absolute().is_relative_to(place):
        return ""
    name = Path(path).absolute().relative_to(place).as_posix()
    if name == DIGESTS:
        return ""
    if name not in digests(resources):
        return f"{place / DIGESTS} does not list {name}"
    if not Path(path).exists():
        return "the file is gone"
    expected, got = digests(resources)[name], known_sha256(path)
    return "" if got == expected else f"it has the sha256 {got}, expected {expected} ({DIGESTS})"


def whole(path: Path, resources: Path = RESOURCES) -> Path:
    """The path of a packed file. Raises `OffcourseError` when the file is missing or changed."""
    if why := damage(path, resources):
        raise OffcourseError(f"{path}: {why}. {AGAIN}")
    return path
