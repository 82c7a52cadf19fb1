"""The lock of models: the commit that each hub model's branch or tag meant when `offcourse pin` asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pandera.pandas as pa

from offcourse.data.tsv import FILLED, read_rows, text_column

LOCK = "models.lock.tsv"  # beside models.tsv


@dataclass(frozen=True)
class Pin:
    """One row of models.lock.tsv: the commit that a hub model's revision meant when `offcourse pin` asked.

    repo, revision: as in models.tsv at that time. date: of the commit, UTC, ISO 8601.
    licence, gated: as the hub says (gated: no, auto or manual).
    """

    name: str
    repo: str
    revision: str
    commit: str
    date: str
    licence: str
    gated: str


_COMMIT = text_column(pa.Check.str_matches(r"^[0-9a-f]{40}$", error="40 hexadecimal digits"))
_CELLS = {"repo": FILLED, "revision": FILLED, "commit": _COMMIT}


def read_lock(path: Path) -> Mapping[str, Pin]:
    """{model: row} of a lock; empty when there is no file. Raises `OffcourseError` for a file that is no lock."""
    return read_rows(path, Pin, _CELLS) if Path(path).exists() else MappingProxyType({})
