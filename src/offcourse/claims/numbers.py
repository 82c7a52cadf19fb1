"""Where the rules of claims find their numbers, and what they make of them."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Found:
    """A rule's number. low, high: its 95 % interval, NaN where there is none.

    n: models, or model-task pairs, behind it. models: how many different models these are (checkpoints of one model
    are one), None where that is not known. note: what of several things the number is of.
    """

    value: float
    low: float = np.nan
    high: float = np.nan
    n: int | None = None
    models: int | None = None
    note: str = ""


class NoDataError(Exception):
    """What a rule needs is not there; the text says why."""


def _nothing(name: str) -> pd.DataFrame:
    raise NoDataError(f"there is no table {name} here")


@dataclass(frozen=True)
class Numbers:
    """The numbers of one source; each part raises `NoDataError` for what it does not have.

    table: by number, with columns row, column, value, ci_low, ci_high, n. figure: by id, as the figure's parquet.
    evidence: by name, the tables `recovery`, `dola_changes` and `head_overlap`. models: those that it has been
    restricted to; None for all.
    """

    table: Callable[[int], pd.DataFrame]
    figure: Callable[[str], pd.DataFrame]
    evidence: Callable[[str], pd.DataFrame] = _nothing
    models: frozenset[str] | None = None

    def only(self, models: Collection[str]) -> "Numbers":
        """The numbers of some models. A table whose rows are no models, Table 3, is left to `evidence`."""
        kept = frozenset(models)

        def table(number: int) -> pd.DataFrame:
            frame = self.table(number)
            if number == 3:
                raise NoDataError("Table 3 is of all models")
            return frame[frame["row"].map(model_of).isin(kept)]

        def mine(read: Callable[[str], pd.DataFrame]) -> Callable[[str], pd.DataFrame]:
            def read_mine(name: str) -> pd.DataFrame:
                frame = read(name)
                return frame[frame["model"].isin(kept)]

            return read_mine

        return replace(self, table=table, figure=mine(self.figure), evidence=mine(self.evidence), models=kept)


def model_of(row: str) -> str:
    """The model of a table's row, which is called "{model}" or "{model} ({question set})"."""
    return row.split(" (")[0]
