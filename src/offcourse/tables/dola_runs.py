"""DoLa on one model and question set: the metrics of every setting, and the choice of settings for the tables."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from offcourse.analysis import selection, truthfulness
from offcourse.analysis.results import Folder, dola_path, read_model, read_premature_layers
from offcourse.analysis.sources import listed, source
from offcourse.data.rows import is_large

# The paper compares buckets at this alpha, and other alphas at the best bucket (appendix A.1).
BUCKET_ALPHA = 0.1
METRICS = {"primer": ("mc1", "mc2", "mc3"), "continuation": ("factor",)}

Setting = tuple[str, float, str]
# A column of a table shows one setting of DoLa. A choice returns that setting; its argument is a mask of the questions
# that the choice may look at (all of them, or one half).
Choice = Callable[[np.ndarray], Setting]


@dataclass
class DolaRun:
    """One model on one question set.

    metrics: a row per question and setting, see `truthfulness.per_question`. premature: see `read_premature_layers`.
    lead: the column of `metrics` by which settings are chosen. selected: the protocol's `selection`, which decides on
    which questions they are chosen. removed, exact: arguments of `per_question` that the metrics were computed with.
    """

    model: str
    questions: str
    metrics: pd.DataFrame
    large: bool
    premature: pd.DataFrame
    lead: str
    selected: str
    removed: bool = False
    exact: bool = False

    @cached_property
    def _frames(self) -> dict[Setting, pd.DataFrame]:
        grouped = self.metrics.sort_values("question").groupby(truthfulness.SETTING)
        return {key: frame.reset_index(drop=True) for key, frame in grouped}

    @cached_property
    def _leading(self) -> dict[Setting, np.ndarray]:
        """{setting: column `lead` of its questions}."""
        return {setting: frame[self.lead].to_numpy(float) for setting, frame in self._frames.items()}

    @cached_property
    def grid(self) -> np.ndarray:
        """[settings, questions]: column `lead` of every setting of DoLa that `best` can choose."""
        return np.stack([values for (_, _, variant), values in self._leading.items() if variant == "softmax"])

    @cached_property
    def _best(self) -> dict[bytes, Setting]:
        """{mask of questions: what `best` chose on them}. Every column of a table chooses on the same masks."""
        return {}

    @cached_property
    def repeated(self) -> list[list[selection.Direction]]:
        """Masks of the questions to choose on and to report on, see `selection.repetitions`."""
        return selection.repetitions(self.selected, self.questions, self.metrics["question"].nunique())

    def at(self, bucket: str, alpha: float, variant: str) -> pd.DataFrame:
        """The questions of one setting, in order."""
        return self._frames[bucket, alpha, variant]

    def values(self, choice: Choice, column: str) -> np.ndarray:
        """[repetitions, questions]: one column of `metrics` in the chosen settings."""
        return selection.reported(self.repeated, choice, lambda setting: self.at(*setting)[column].to_numpy(float))

    def entry(self, role: str, setting: Setting, column: str, where: dict | None = None, **more) -> dict:
        """One entry of `sources`."""
        how = {"removed": self.removed, "exact": self.exact}
        selected = dict(zip(truthfulness.SETTING, setting, strict=True)) | (where or {})
        n = len(where["question"]) if where else len(self.at(*setting))
        return source(role, dola_path(self.model, self.questions), selected, n, column, **how, **more)

    def sources(self, choice: Choice, column: str) -> str:
        """The column `sources` of a cell made from `values`, see `analysis.sources`."""
        return listed(*self.entries("value", choice, column))

    def entries(self, role: str, choice: Choice, column: str) -> list[dict]:
        """The entries of `sources` of a mean of `values`."""
        counts = selection.weights(self.repeated, choice)
        return [self.entry(role, setting, column, times=times) for setting, times in counts.items()]

    def paired_sources(self, choices: Sequence[tuple[str, Choice]]) -> str:
        """The column `sources` of a paired test of base and DoLa: the questions of one repetition after another."""
        entries = []
        for repetition, directions in enumerate(self.repeated):
            for chosen_on, reported_on in directions:
                for role, choice in choices:
                    setting = choice(chosen_on)
                    questions = self.at(*setting)["question"].to_numpy()[reported_on].tolist()
                    entries.append(self.entry(role, setting, self.lead, {"question": questions}, repetition=repetition))
        return listed(*entries)

    def usual(self, choice: Choice) -> tuple[Setting, float]:
        """(setting that is chosen most often, share of the choices); the share is 1 under `same_items`."""
        settings = Counter(selection.chosen(self.repeated, choice))
        [(setting, count)] = settings.most_common(1)
        return setting, count / settings.total()

    @cached_property
    def buckets(self) -> list[str]:
        """Buckets in the paper's order: by upper bound; with equal upper bounds, the narrowest first."""
        found = set(self.metrics["bucket"]) - {""}
        ends = {bucket: [int(end) for end in bucket.split("-")] for bucket in found}
        return sorted(found, key=lambda bucket: (ends[bucket][1], -ends[bucket][0]))

    @cached_property
    def alphas(self) -> list[float]:
        """Alphas of the grid."""
        return sorted(set(self.metrics.loc[self.metrics["bucket"] != "", "alpha"]))

    @cached_property
    def bucket_alpha(self) -> float:
        """The alpha at which buckets are compared: 0.1, or the study's nearest alpha."""
        return min(self.alphas, key=lambda alpha: (abs(alpha - BUCKET_ALPHA), alpha))

    def _mean(self, setting: Setting, questions: np.ndarray) -> float:
        return self._leading[setting][questions].mean()

    def best_bucket(self, questions: np.ndarray) -> str:
        """The bucket with the largest MC1 (FACTOR: accuracy). questions: mask of the questions that count.

        Of equally good buckets the last is taken. Tables 6 and 10 show that the paper did so in all five ties of Tables
        4 and 8.
        """
        return max(
            reversed(self.buckets), key=lambda bucket: self._mean((bucket, self.bucket_alpha, "softmax"), questions)
        )

    def best(self, questions: np.ndarray) -> Setting:
        """DoLa's setting with the largest MC1 (FACTOR: accuracy): the bucket is chosen first, then the alpha.

        Of equally good alphas the first is taken. The release has every alpha at one bucket only. Under another rule
        than the paper's another bucket may be the best; only the alphas that were run at this bucket are then compared.
        """
        mask = questions.tobytes()
        if mask not in self._best:
            bucket = self.best_bucket(questions)
            tried = [(bucket, alpha, "softmax") for alpha in self.alphas]
            run = [setting for setting in tried if setting in self._frames]
            self._best[mask] = max(run, key=lambda setting: self._mean(setting, questions))
        return self._best[mask]

    def without_softmax(self, questions: np.ndarray) -> Setting:
        """The setting without the softmax at the best bucket, without a mask (alpha 0) if the study has this setting.

        The release has one setting without the softmax, which is taken even where it is not at the best bucket.
        """
        bucket, alpha, _ = self.best(questions)
        wanted = bucket, 0.0 if 0.0 in self.alphas else alpha, "no_softmax"
        return wanted if wanted in self._frames else self.only("no_softmax")

    def only(self, variant: str) -> Setting:
        """The one setting in which `variant` was run."""
        [setting] = [setting for setting in self._frames if setting[2] == variant]
        return setting


def run_of(
    results: Folder,
    model: str,
    name: str,
    form: str,
    metrics: pd.DataFrame,
    shared_ties: bool,
    selected: str,
    removed: bool,
    exact: bool,
) -> DolaRun:
    """The run of one model on question set `name`. form: of the set. metrics: result of `truthfulness.per_question`."""
    large = is_large(read_model(results, model)["parameters"])
    premature = read_premature_layers(results, model, name)
    lead = measure(METRICS[form][0], shared_ties)
    return DolaRun(model, name, metrics, large, premature, lead, selected, removed, exact)


def measure(metric: str, shared_ties: bool) -> str:
    """The column of `truthfulness.per_question` for a metric. MC2 has one column, since it does not depend on ties."""
    return f"{metric}_shared" if shared_ties and metric != "mc2" else metric
