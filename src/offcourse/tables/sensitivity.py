"""The sensitivity table: what each protocol switch moves (`claims.sensitivity`), as parquet, csv and md."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from offcourse.analysis import task_vectors, truthfulness
from offcourse.analysis.results import read_dola, read_other_position, read_sweep
from offcourse.claims.sensitivity import SENSITIVITY, Limits, by_bos, by_read_position, sensitivity
from offcourse.study.protocol import Protocol
from offcourse.tables import dola as tables_dola
from offcourse.tables import dola_runs, table3, writing

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
    dola: models, and (name, form) of the question sets. last: see `table3.left_over`. other_position: the value of
    `head_read_position` that the control `read_position` of the study has, "" where there is none.
    """

    folder: Path
    function_vectors: Scope
    task_vectors: Scope
    groups: Mapping[str, str]
    dola: tuple[Sequence[str], Sequence[tuple[str, str]]]
    last: tuple[str, str] | None = None
    other_position: str = ""
    _metrics: dict[tuple, pd.DataFrame] = field(default_factory=dict)

    def tables(
        self, protocol: Protocol, wanted: Collection[int], without: Collection[str] = ()
    ) -> dict[int, pd.DataFrame]:
        """Tables 1 to 3 under a protocol, of those that are wanted and that there are results for.

        without: models whose task vectors are left out.
        """
        found = {}
        if 3 in wanted and (self.function_vectors[0] or self.task_vectors[0]):
            found[3] = self._recovered(protocol, without)
        for number in sorted({1, 2} & set(wanted)):
            form = tables_dola.FORM_OF[number]
            names = [name for name, its in self.dola[1] if its == form]
            runs = [self._run(model, name, form, protocol) for name in names for model in self.dola[0]]
            if runs:
                found[number] = tables_dola.cells(number, runs, protocol.ties == "shared")
        return found

    def pairs(self, protocol: Protocol) -> pd.DataFrame:
        """The pairs of function vectors, see `table3.read_pairs`."""
        read = read_other_position if protocol.head_read_position == self.other_position else read_sweep
        scope = map(list, self.function_vectors)
        return table3.read_pairs(self.folder, *scope, protocol.default_heads, protocol.selection, read)

    def _recovered(self, protocol: Protocol, without: Collection[str]) -> pd.DataFrame:
        parts, before = [], None
        if self.function_vectors[0]:
            pairs = self.pairs(protocol)
            parts.append(table3.function_vector_cells(pairs))
            before = table3.left_over(pairs, self.last)
        if self.task_vectors[0]:
            switches = {name: getattr(protocol, name) for name in ("tv_denominator", "tv_direction", "tv_score")}
            models = [name for name in self.task_vectors[0] if name not in without]
            read = task_vectors.read_pairs(self.folder, models, self.task_vectors[1], self.groups, switches, before)
            parts.append(table3.task_vector_cells(read))
        return pd.concat(parts, ignore_index=True)

    def _run(self, model: str, name: str, form: str, protocol: Protocol) -> dola_runs.DolaRun:
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
    limits: Limits | None = None,
) -> None:
    """Write `sensitivity.parquet`, `.csv` and `.md` into `out`.

    adds_bos: whether each model's tokenizer adds a BOS. limits: what these results do not allow.
    """
    limits = limits or Limits()
    if results.other_position:
        limits = replace(limits, turned=limits.turned | {"head_read_position": (3,)})
    frame = sensitivity(results.tables, protocol, limits)
    if results.function_vectors[0]:
        pairs = results.pairs(protocol)
        parts = [by_bos(pairs, adds_bos, table3.QUANTILES)]
        if results.other_position:
            other = results.pairs(protocol.model_copy(update={"head_read_position": results.other_position}))
            change = f"{protocol.head_read_position} → {results.other_position}"
            parts += [by_read_position(pairs, other, adds_bos, change), frame]
        else:
            parts.append(frame[frame["switch"] != "head_read_position"])
        frame = pd.concat(parts, ignore_index=True)
    writing.write_plain(out, NAME, "Sensitivity", CAPTION, frame, SENSITIVITY, texts(frame))


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The table as text."""
    numbers = {
        name: ["" if pd.isna(value) else f"{value:.4g}" for value in frame[name]] for name in ("before", "after")
    }
    return frame.assign(**numbers).set_index("switch")
