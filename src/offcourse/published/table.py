"""One converted table of the authors' release."""

from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Made:
    """One converted table. files: the released files that it was made from. notes: what the record says besides."""

    step: str
    unit: str
    frame: pd.DataFrame
    files: tuple[str, ...]
    notes: dict[str, Any]
