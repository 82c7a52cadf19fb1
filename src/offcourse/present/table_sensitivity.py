"""The sensitivity table: what each protocol switch moves (`analysis.sensitivity`), as parquet, csv and md."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from offcourse.analysis import task_vectors, truthfulness
from offcourse.analysis.results import read_dola
from offcourse.analysis.sensitivity import SENSITIVITY, by_bos, sensitivity
from offcourse.present import dola_runs, forms, tables, tables_dola
from offcourse.study.protocol import Protocol

NAME = "sensitivity"
CAPTION = (
    "What each protocol switch moves: the numbers of Tables 1 to 3 and the claims that rest on them, with the other "
    "value of one switch at a time."
)
Scope = tuple[Sequence[str], Sequence[str]]


@dataclass
class Results:
    """Results of a study or of the release, and what of them the tables show.

    function_vectors, task_vectors: models and tasks, empty where there are none. groups: of each task (tasks.tsv).
    dola: models, and (name, form) of the question sets. last: see `tables.left_over`.
    """

    folder: Path
    function_vectors: Scope
    task_vectors: Scope
    groups: Mapping[str, str]
    dola: tuple[Sequence[str], Sequence[tuple[str, str]]]
    last: tuple[str, str] | None = None
    _metrics: dict[tuple, pd.DataFrame] = field(default_factory=dict)

    def tables(self, protocol: Protocol, wanted: Collection[int]) -> dict[int, pd.DataFrame]:
        """Tables 1 to 3 under a protocol, of those that are wanted and that there are results for."""
        found = {}
        if 3 in wanted and (self.function_vectors[0] or self.task_vectors[0]):
            found[3] = self._recovered(protocol)
        for number in sorted({1, 2} & set(wanted)):
            form = tables_dola.FORM_OF[number]
            names = [name for name, its in self.dola[1] if its == form]
            runs = [self._run(model, name, form, protocol) for name in names for model in self.dola[0]]
            if runs:
                found[number] = tables_dola.cells(number, runs, protocol.ties == "shared")
        return found

    def pairs(self, protocol: Protocol) -> pd.DataFrame:
        """The pairs of function vectors, see `tables.read_pairs`."""
        return tables.read_pairs(
            self.folder, *map(list, self.function_vectors), protocol.default_heads, protocol.selection
        )

    def _recovered(self, protocol: Protocol) -> pd.DataFrame:
        parts, before = [], None
        if self.function_vectors[0]:
            pairs = self.pairs(protocol)
            parts.append(tables.function_vector_cells(pairs))
            before = tables.left_over(pairs, self.last)
        if self.task_vectors[0]:
            switches = {name: getattr(protocol, name) for name in ("tv_denominator", "tv_direction", "tv_score")}
            read = task_vectors.read_pairs(self.folder, *self.task_vectors, self.groups, switches, before)
            parts.append(tables.task_vector_cells(read))
        return pd.concat(parts, ignore_index=True)

    def _run(self, model: str, name: str, form: str, protocol: Protocol) -> dola_runs.Run:
        how = protocol.dola_mask == "removed", protocol.score_dtype == "float64"
        key = model, name, *how
        if key not in self._metrics:
            self._metrics[key] = truthfulness.per_question(read_dola(self.folder, model, name), *how)
        shared = protocol.ties == "shared"
        return dola_runs.run_of(self.folder, model, name, form, self._metrics[key], shared, protocol.selection, *how)


def write(
    results: Results,
    protocol: Protocol,
    adds_bos: Mapping[str, bool],
    out: Path,
    cannot: Mapping[str, str] | None = None,
) -> None:
    """Write `sensitivity.parquet`, `.csv` and `.md` into `out`.

    adds_bos: whether each model's tokenizer adds a BOS. cannot: see `analysis.sensitivity.sensitivity`.
    """
    frame = sensitivity(results.tables, protocol, cannot)
    if results.function_vectors[0]:
        bos = by_bos(results.pairs(protocol), adds_bos, tables.QUANTILES)
        frame = pd.concat([bos, frame[frame["switch"] != "head_read_position"]], ignore_index=True)
    forms.write_plain(out, NAME, "Sensitivity", CAPTION, frame, SENSITIVITY, texts(frame))


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as text."""
    numbers = {
        name: ["" if pd.isna(value) else f"{value:.4g}" for value in frame[name]] for name in ("before", "after")
    }
    return frame.assign(**numbers).set_index("switch")
