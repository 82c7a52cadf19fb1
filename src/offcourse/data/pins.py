"""The lock of models: the commit at which each hub model runs, and who says that its branch or tag meant it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pandera.pandas as pa

from offcourse.data.tsv import FILLED, one_of, read_rows, text_column

LOCK = "models.lock.tsv"  # beside models.tsv
HUB, PUBLIC_CODE = "hub", "public code"
UNKNOWN = "not stated"


@dataclass(frozen=True)
class Pin:
    """One row of models.lock.tsv: the commit at which a hub model runs.

    repo, revision: as in models.tsv at that time. date: of the commit, UTC, ISO 8601.
    licence, gated: as the hub says (gated: no, auto or manual); UNKNOWN where the hub was not asked.
    source: HUB, which said so when `offcourse pin` asked; or PUBLIC_CODE, which loads this commit in at least two
    projects that do not know each other, and which no hub has confirmed yet.
    """

    name: str
    repo: str
    revision: str
    commit: str
    date: str
    licence: str
    gated: str
    source: str


_COMMIT = text_column(pa.Check.str_matches(r"^[0-9a-f]{40}$", error="40 hexadecimal digits"))
_CELLS = {"repo": FILLED, "revision": FILLED, "commit": _COMMIT, "source": one_of(HUB, PUBLIC_CODE)}


def read_lock(path: Path) -> Mapping[str, Pin]:
    """{model: row} of a lock; empty when there is no file. Raises `OffcourseError` for a file that is no lock."""
    return read_rows(path, Pin, _CELLS) if Path(path).exists() else MappingProxyType({})
