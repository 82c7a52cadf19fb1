"""The sensitivity table: the numbers and claims that each protocol switch changes (`claims.sensitivity`)."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from offcourse.analysis import task_vectors, truthfulness
from offcourse.analysis.results import read_dola, read_model, read_other_position, read_sweep
from offcourse.analysis.view import ResultsView
from offcourse.claims.sensitivity import SENSITIVITY, Limits, by_bos, by_read_position, sensitivity
from offcourse.claims.verdicts import read_claims
from offcourse.data.architectures import BIASED
from offcourse.schemas.function_vectors import READ_POSITION
from offcourse.study.protocol import Protocol
from offcourse.tables import dola as tables_dola
from offcourse.tables import dola_runs, table3, writing

NAME = "sensitivity"
CAPTION = (
    "What each protocol switch moves: the numbers of Tables 1 to 3 and the claims that rest on them, with the other "
    "value of one switch at a time."
)
OTHER = {"as_coded": "last", "last": "as_coded"}


@dataclass
class Turned:
    """Makes Tables 1 to 3 from the results of one view under any protocol.

    other_position: the value of `head_read_position` that the study's control `read_position` stands for; "" without
    this control.
    """

    view: ResultsView
    other_position: str = ""
    _metrics: dict[tuple, pd.DataFrame] = field(default_factory=dict)

    def tables(
        self, protocol: Protocol, wanted: Collection[int], without: Collection[str] = ()
    ) -> dict[int, pd.DataFrame]:
        """{number: table} under a protocol, for the `wanted` ones of Tables 1 to 3 that have results.

        without: models whose task vectors are left out.
        """
        found, (models, _) = {}, self.view.scope("dola")
        if 3 in wanted and (self.view.scope("function_vectors")[0] or self.view.scope("task_vectors")[0]):
            found[3] = self._recovered(protocol, without)
        for number in sorted({1, 2} & set(wanted)):
            form = tables_dola.FORM_OF[number]
            names = [name for name, its in self.view.forms("dola") if its == form]
            runs = [self._run(model, name, form, protocol) for name in names for model in models]
            if runs:
                found[number] = tables_dola.cells(number, runs, protocol.ties == "shared")
        return found

    def pairs(self, protocol: Protocol) -> pd.DataFrame:
        """The model-task pairs of function vectors, see `table3.read_pairs`."""
        read = read_other_position if protocol.head_read_position == self.other_position else read_sweep
        scope = self.view.scope("function_vectors")
        return table3.read_pairs(self.view, *scope, protocol.default_heads, protocol.selection, read)

    def _recovered(self, protocol: Protocol, without: Collection[str]) -> pd.DataFrame:
        parts, before = [], None
        if self.view.scope("function_vectors")[0]:
            pairs = self.pairs(protocol)
            parts.append(table3.function_vector_cells(pairs))
            before = table3.left_over(pairs, self.view.known("last"))
        models, tasks = self.view.scope("task_vectors")
        if models:
            switches = {name: getattr(protocol, name) for name in ("tv_denominator", "tv_direction", "tv_score")}
            models, groups = [name for name in models if name not in without], self.view.groups()
            read = task_vectors.read_pairs(self.view, models, tasks, groups, switches, before)
            parts.append(table3.task_vector_cells(read))
        return pd.concat(parts, ignore_index=True)

    def _run(self, model: str, name: str, form: str, protocol: Protocol) -> dola_runs.DolaRun:
        how = protocol.dola_mask == "removed", protocol.score_dtype == "float64"
        key = model, name, *how
        if key not in self._metrics:
            self._metrics[key] = truthfulness.per_question(read_dola(self.view, model, name), *how)
        shared = protocol.ties == "shared"
        return dola_runs.run_of(self.view, model, name, form, self._metrics[key], shared, protocol.selection, *how)


def write(view: ResultsView, out: Path) -> None:
    """Write `sensitivity.parquet`, `.csv` and `.md` into `out`."""
    protocol, controls = view.protocol, view.setting("function_vectors.controls") or ()
    other = OTHER[protocol.head_read_position] if READ_POSITION in controls else ""
    results = Turned(view, other)
    vectors = view.scope("function_vectors")[0]
    biased = any("attention output" in BIASED.get(view.cell("models", "architecture", name), ()) for name in vectors)
    limits = Limits(cannot=view.known("cannot"), without=view.known("without"), output_bias=biased)
    if other:
        limits = replace(limits, turned=limits.turned | {"head_read_position": (3,)})
    claims = read_claims(view.tracked("claims.tsv").parent)
    frame = sensitivity(results.tables, protocol, limits, claims)
    if vectors:
        known = view.known("adds_bos")
        adds_bos = known or {name: read_model(view, name)["adds_bos"] for name in vectors}
        pairs = results.pairs(protocol)
        parts = [by_bos(pairs, adds_bos, table3.QUANTILES)]
        if other:
            again = results.pairs(protocol.model_copy(update={"head_read_position": other}))
            change = f"{protocol.head_read_position} → {other}"
            parts += [by_read_position(pairs, again, adds_bos, change), frame]
        else:
            parts.append(frame[frame["switch"] != "head_read_position"])
        frame = pd.concat(parts, ignore_index=True)
    writing.write_plain(out, NAME, "Sensitivity", CAPTION, frame, SENSITIVITY, texts(frame))


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The printed table, all text."""
    numbers = {
        name: ["" if pd.isna(value) else f"{value:.4g}" for value in frame[name]] for name in ("before", "after")
    }
    return frame.assign(**numbers).set_index("switch")
