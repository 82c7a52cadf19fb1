"""A steering method on one model and question set: metrics of every setting, and the settings that are reported."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from offcourse.analysis import selection, truthfulness
from offcourse.analysis.results import Folder, answers_path, read_answers
from offcourse.analysis.sources import source

# {form: {metric of `truthfulness.per_question`: its name in tables}}; settings are chosen by the first one.
METRICS = {
    "primer": {"mc1": "MC1", "mc2": "MC2", "mc3": "MC3"},
    "continuation": {"factor": "accuracy"},
    "ab": {"mc1": "accuracy", "mc2": "probability"},
}
UNSTEERED = (0.0, -1)
Setting = tuple[float, int]


@dataclass
class Steered:
    """One method, model and question set.

    metrics: from `truthfulness.per_question`, a row per question and setting. lead: the column by which settings are
    chosen. selected: the protocol's `selection`. exact: see `truthfulness.mc2`.
    """

    method: str
    model: str
    questions: str
    metrics: pd.DataFrame
    lead: str
    selected: str
    exact: bool

    @cached_property
    def _values(self) -> dict[str, pd.DataFrame]:
        """{metric: a row per setting, a column per question}."""
        index = self.metrics.set_index([*truthfulness.EDIT, "question"])
        numbers = index.select_dtypes("number").columns
        return {name: index[name].astype(float).unstack("question").sort_index() for name in numbers}

    @cached_property
    def settings(self) -> list[Setting]:
        """The settings with an edit or an instruction, by strength and layer."""
        return [setting for setting in self._values[self.lead].index if setting != UNSTEERED]

    @cached_property
    def repeated(self) -> list[list[selection.Direction]]:
        """Masks of the questions to choose on and to report on."""
        return selection.repetitions(self.selected, self.questions, self.metrics["question"].nunique())

    @cached_property
    def grid(self) -> np.ndarray:
        """[settings, questions]: column `lead` of every one of `settings`."""
        return self._values[self.lead].loc[self.settings].to_numpy()

    def best(self, chosen_on: np.ndarray) -> Setting:
        """The setting with the largest mean of `lead` on some questions; of equally good ones the first."""
        return self.settings[int(self.grid[:, chosen_on].mean(1).argmax())]

    def unsteered(self, column: str) -> np.ndarray:
        """[questions] without an edit."""
        return self._values[column].loc[UNSTEERED].to_numpy()

    def steered(self, column: str) -> np.ndarray:
        """[questions] in the settings that were chosen without the question, mean over the halvings."""
        values = self._values[column]
        return selection.reported(self.repeated, self.best, lambda setting: values.loc[setting].to_numpy()).mean(0)

    def usual(self) -> tuple[Setting, float]:
        """(setting that is chosen most often, share of the choices)."""
        settings = Counter(selection.chosen(self.repeated, self.best))
        [(setting, count)] = settings.most_common(1)
        return setting, count / settings.total()

    def setting(self) -> str:
        """The setting that is chosen most often, in words."""
        (strength, layer), share = self.usual()
        where = f"strength {strength:g}" + (
            f" at layer {layer}" if len({each for _, each in self.settings}) > 1 else ""
        )
        return where if self.selected == "same_items" else f"{where} ({share:.0%} of the choices)"

    def entries(self, role: str, column: str, edited: bool = True) -> list[dict]:
        """Entries of `sources` of `steered`, or of `unsteered`."""
        count = self.metrics["question"].nunique()
        counts = selection.weights(self.repeated, self.best) if edited else {UNSTEERED: None}
        path = answers_path(self.method, self.model, self.questions)
        return [
            source(
                role,
                path,
                dict(zip(truthfulness.EDIT, setting, strict=True)),
                count,
                column,
                times=times,
                exact=self.exact,
            )
            for setting, times in counts.items()
        ]


def measure(metric: str, shared_ties: bool) -> str:
    """The column of `truthfulness.per_question` for a metric under the study's tie rule."""
    return f"{metric}_shared" if shared_ties and metric != "mc2" else metric


def read(
    results: Folder, method: str, model: str, questions: str, form: str, selected: str, shared_ties: bool, exact: bool
) -> Steered:
    """The results of one method on one model and question set. form: of the set."""
    metrics = truthfulness.per_question(read_answers(results, method, model, questions), False, exact)
    lead = measure(next(iter(METRICS[form])), shared_ties)
    return Steered(method, model, questions, metrics, lead, selected, exact)
