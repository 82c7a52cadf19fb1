"""The sensitivity table: the numbers and claims that each protocol switch changes (`claims.sensitivity`)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import pandas as pd

from offcourse.analysis import task_vectors, truthfulness
from offcourse.analysis.results import read_dola, read_model, read_other_position, read_sweep
from offcourse.analysis.view import ResultsView
from offcourse.claims.sensitivity import NUMBERS, PAIRS, SENSITIVITY, Limits, by_bos, by_read_position, sensitivity
from offcourse.claims.verdicts import Claim, read_claims
from offcourse.data.architectures import BIASED
from offcourse.data.prompts import reads_early
from offcourse.schemas.function_vectors import READ_POSITION
from offcourse.study.protocol import Protocol
from offcourse.tables import dola as tables_dola
from offcourse.tables import dola_runs, table3, writing
from offcourse.tables.recovery import DEFAULT, SEARCH, TASK

NAME = "sensitivity"
CAPTION = (
    "What each protocol switch moves: the numbers of Tables 1 to 3 and the claims that rest on them, with the other "
    "value of one switch at a time."
)
# Of `tables.recovery`, what rules on Table 3 count.
COUNTED = ["method", "model", "task", "peak", "few_shot"]
POSITIONS = get_args(Protocol.model_fields["head_read_position"].annotation)


@dataclass
class Turned:
    """Makes Tables 1 to 3 from the results of one view under any protocol.

    adds_bos: whether each model's tokenizer adds a BOS, in a study with the control `read_position`, which has the
    other of the two positions of every model; empty where the study has no such control.
    """

    view: ResultsView
    adds_bos: Mapping[str, bool] = field(default_factory=dict)
    _metrics: dict[tuple, pd.DataFrame] = field(default_factory=dict)
    _pairs: dict[tuple, pd.DataFrame] = field(default_factory=dict)
    _sweeps: dict[tuple, tuple[pd.DataFrame, int]] = field(default_factory=dict)

    def tables(
        self, protocol: Protocol, wanted: Collection[int], without: Collection[str] = ()
    ) -> dict[int | str, pd.DataFrame]:
        """{number: table} under a protocol, for the `wanted` ones of Tables 1 to 3 that have results.

        Beside Table 3 stand its pairs under `claims.sensitivity.PAIRS`.

        without: models whose task vectors are left out.
        """
        found, (models, _) = {}, self.view.scope("dola")
        if 3 in wanted and (self.view.scope("function_vectors")[0] or self.view.scope("task_vectors")[0]):
            found |= self._recovered(protocol, without)
        for number in sorted({1, 2} & set(wanted)):
            form = tables_dola.FORM_OF[number]
            names = [name for name, its in self.view.forms("dola") if its == form]
            runs = [self._run(model, name, form, protocol) for name in names for model in models]
            if runs:
                found[number] = tables_dola.cells(number, runs, protocol.ties == "shared")
        return found

    def pairs(self, protocol: Protocol) -> pd.DataFrame:
        """The pairs of function vectors, see `table3.read_pairs`."""
        # All that they depend on; other switches find them made.
        switches = protocol.default_heads, protocol.selection, protocol.head_read_position
        if switches not in self._pairs:
            self._pairs[switches] = self._read_pairs(protocol)
        return self._pairs[switches]

    def _read_pairs(self, protocol: Protocol) -> pd.DataFrame:
        alike = self.alike(protocol.head_read_position)

        def read(view: ResultsView, model: str, task: str) -> tuple[pd.DataFrame, int]:
            reader = read_sweep if not self.adds_bos or model in alike else read_other_position
            if (reader, model, task) not in self._sweeps:
                self._sweeps[reader, model, task] = table3.read_hits(view, model, task, reader)
            return self._sweeps[reader, model, task]

        scope = self.view.scope("function_vectors")
        return table3.read_pairs(self.view, *scope, protocol.default_heads, protocol.selection, read)

    def alike(self, position: str) -> list[str]:
        """The models whose heads a value of `head_read_position` reads at the same token as the study does."""
        own = self.view.protocol.head_read_position
        return [name for name, bos in self.adds_bos.items() if reads_early(position, bos) == reads_early(own, bos)]

    def _recovered(self, protocol: Protocol, without: Collection[str]) -> dict[int | str, pd.DataFrame]:
        parts, counted, before = [], [], None
        if self.view.scope("function_vectors")[0]:
            pairs = self.pairs(protocol)
            parts.append(table3.function_vector_cells(pairs))
            counted.append(_function_vectors(pairs))
            scope = self.view.scope("function_vectors")
            before = table3.left_over(self.view, *scope, self.view.known("last"))
        models, tasks = self.view.scope("task_vectors")
        if models:
            switches = {name: getattr(protocol, name) for name in ("tv_denominator", "tv_direction", "tv_score")}
            models, groups = [name for name in models if name not in without], self.view.groups()
            read = task_vectors.read_pairs(self.view, models, tasks, groups, switches, before)
            parts.append(table3.task_vector_cells(read))
            counted.append(read.assign(method=TASK, peak=read["best"])[COUNTED])
        return {3: pd.concat(parts, ignore_index=True), PAIRS: pd.concat(counted, ignore_index=True)}

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
    vectors, known = view.scope("function_vectors")[0], view.known("adds_bos")
    adds_bos = known or {name: read_model(view, name)["adds_bos"] for name in vectors}
    both = READ_POSITION in controls
    results = Turned(view, adds_bos if both else {})
    biased = any("attention output" in BIASED.get(view.cell("models", "architecture", name), ()) for name in vectors)
    limits = Limits(cannot=view.known("cannot"), without=view.known("without"), output_bias=biased)
    if both:
        limits = replace(limits, turned=limits.turned | {"head_read_position": (3,)})
    claims = read_claims(view.tracked("claims.tsv").parent)
    frame = sensitivity(results.tables, protocol, limits, claims)
    if vectors:
        pairs = results.pairs(protocol)
        parts = [split_by_bos(pairs, adds_bos, claims, checked=known is None)]
        if both:
            own = protocol.head_read_position
            for other in (value for value in POSITIONS if value != own):
                again = results.pairs(protocol.model_copy(update={"head_read_position": other}))
                parts.append(by_read_position(pairs, again, results.alike(other), f"{own} → {other}"))
            parts.append(frame)
        else:
            parts.append(frame[frame["switch"] != "head_read_position"])
        frame = pd.concat(parts, ignore_index=True)
    writing.write_plain(out, NAME, "Sensitivity", CAPTION, frame, SENSITIVITY, texts(frame))


def split_by_bos(
    pairs: pd.DataFrame, adds_bos: Mapping[str, bool], claims: Sequence[Claim], checked: bool
) -> pd.DataFrame:
    """Table 3 of function vectors for models whose tokenizer adds a BOS and for the others, see `by_bos`.

    pairs: of function vectors, from `table3.read_pairs`. adds_bos: of their models.
    """
    group = pairs["model"].map(adds_bos).astype(bool)
    tables = tuple(
        {3: table3.function_vector_cells(pairs[mine]), PAIRS: _function_vectors(pairs[mine])}
        for mine in (group, ~group)
    )
    counts = tuple(pairs.loc[mine, "model"].nunique() for mine in (group, ~group))
    return by_bos(tables, counts, claims, checked)


def _function_vectors(pairs: pd.DataFrame) -> pd.DataFrame:
    """What rules on Table 3 count of the pairs of function vectors: the columns `COUNTED`."""
    settings = (pairs.assign(method=name, peak=pairs[its]) for name, its in ((DEFAULT, "default"), (SEARCH, "search")))
    return pd.concat([each[each["peak"].notna()][COUNTED] for each in settings], ignore_index=True)


def texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The printed table, all text."""
    numbers = {name: ["" if pd.isna(value) else f"{value:.4g}" for value in frame[name]] for name in NUMBERS}
    return frame.assign(**numbers).set_index("switch")
