"""The tracked numbers of the finding (`resources/findings`): what reading heads one token early does.

Every report shows them, whatever its own study has. They are made by `make findings` (`published.findings`) from the
authors' release and from the study off-by-one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa

from offcourse.analysis import inference, recovery
from offcourse.analysis.off_by_one import SILENT
from offcourse.analysis.results import Folder, read_accuracy, read_shots
from offcourse.claims.sensitivity import SENSITIVITY
from offcourse.errors import OffcourseError
from offcourse.schemas.io import columns, validated
from offcourse.schemas.results import OFF_BY_ONE

FOLDER = "findings"
# Peak recovery (Eq. 7) of every released model: mean over its tasks, with Student's interval over them.
RECOVERY = columns(
    model=pa.Column(str),
    label=pa.Column(str),
    adds_bos=pa.Column(bool),
    tasks=pa.Column(int, pa.Check.gt(1)),
    recovery=pa.Column(float, pa.Check.ge(0)),
    low=pa.Column(float),
    high=pa.Column(float),
)
FILES = {"peak-recovery.tsv": RECOVERY, "by-bos.tsv": SENSITIVITY, "off-by-one.tsv": OFF_BY_ONE}


@dataclass(frozen=True)
class Findings:
    """recovery: `RECOVERY`. by_bos: the rows of the release's table of switches that hold models with a BOS against the
    others. runs: the table off_by_one of the study off-by-one.
    """

    recovery: pd.DataFrame
    by_bos: pd.DataFrame
    runs: pd.DataFrame

    def mean(self, adds_bos: bool) -> float:
        """Mean peak recovery over the models of one group."""
        return float(self.recovery.loc[self.recovery["adds_bos"] == adds_bos, "recovery"].mean())

    def count(self, adds_bos: bool) -> int:
        """How many models are in one group."""
        return int((self.recovery["adds_bos"] == adds_bos).sum())

    @property
    def telling(self) -> pd.DataFrame:
        """The runs whose function vector works at the last token."""
        return self.runs[self.runs["verdict"] != SILENT]


def read_findings(folder: Path) -> Findings:
    """The tracked tables in `folder`. Raises `OffcourseError` naming one that is missing or damaged."""
    return Findings(*(_read(folder / name, schema) for name, schema in FILES.items()))


def _read(path: Path, schema: pa.DataFrameSchema) -> pd.DataFrame:
    types = {name: str(column.dtype) for name, column in schema.columns.items()}
    texts = {name: "string" for name, kind in types.items() if kind.startswith("str")}
    try:
        empty = {name: [""] for name in set(types) - set(texts)}
        frame = pd.read_csv(path, sep="\t", dtype=texts, keep_default_na=False, na_values=empty)
        return validated(frame.astype(types), schema)
    except (OSError, ValueError, KeyError) as error:
        raise OffcourseError(
            f"{path} is not the table that was expected ({str(error).splitlines()[0]}). Take it from the repository "
            "again, or make it anew with `make findings`."
        ) from error


def peak_recoveries(
    results: Folder, labels: Mapping[str, str], tasks: Sequence[str], adds_bos: Mapping[str, bool]
) -> pd.DataFrame:
    """Peak recovery of every model, best first (`RECOVERY`); a task without few-shot accuracy is left out.

    labels: of the models, by name.
    """
    rows = []
    for model, label in labels.items():
        found = np.array([_peak(results, model, task) for task in tasks])
        known = found[~np.isnan(found)]
        rows.append((model, label, adds_bos[model], len(known), known.mean(), *inference.student_interval(known)))
    frame = pd.DataFrame(rows, columns=list(RECOVERY.columns))
    return frame.sort_values(["recovery", "model"], ascending=[False, True], ignore_index=True)


def _peak(results: Folder, model: str, task: str) -> float:
    _, few_shot = recovery.baseline(read_shots(results, model, task))
    return recovery.peak_recovery(read_accuracy(results, model, task), few_shot)
