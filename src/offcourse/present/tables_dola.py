"""Tables 1, 2 and 4 to 10: the base model and DoLa on TruthfulQA (MC1 to MC3) and on FACTOR (accuracy)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from offcourse import artefacts
from offcourse.analysis import truthfulness
from offcourse.analysis.results import dola_path, read_dola, read_model
from offcourse.analysis.sources import P_VALUE, SHARE, source
from offcourse.present import forms

# Buckets were compared at this alpha, the others at the best bucket (appendix A.1).
BUCKET_ALPHA = 0.1
METRICS = {"primer": ("mc1", "mc2", "mc3"), "continuation": ("factor",)}
NAMES = {"mc1": "MC1", "mc2": "MC2", "mc3": "MC3", "factor": "accuracy"}
PROPORTIONS = ("mc1", "factor")
CAPTIONS = {
    1: "Truthfulness of the base model and of DoLa in its best setting by MC1.",
    2: "FACTOR accuracy of the base model and of DoLa in its best setting.",
    4: "Truthfulness by bucket of premature layers, smaller models.",
    5: "Truthfulness by bucket of premature layers, larger models.",
    6: "Truthfulness by alpha, at the best bucket.",
    7: "Truthfulness of the base model, DoLa, DoLa without the softmax, and the base model with a length bias.",
    8: "FACTOR accuracy by bucket of premature layers, smaller models.",
    9: "FACTOR accuracy by bucket of premature layers, larger models.",
    10: "FACTOR accuracy by alpha, at the best bucket.",
}
FORM_OF = {number: "continuation" if number in (2, 8, 9, 10) else "primer" for number in CAPTIONS}
LARGE_BLOCKS = 80


@dataclass
class Run:
    """One model on one question set: its metrics per question and setting, and its best setting."""

    model: str
    questions: str
    metrics: pd.DataFrame
    blocks: int
    lead: str
    removed: bool

    def at(self, bucket: str, alpha: float, variant: str) -> pd.DataFrame:
        """The questions of one setting, in order."""
        frame = self.metrics
        picked = (frame["bucket"] == bucket) & (frame["alpha"] == alpha) & (frame["variant"] == variant)
        return frame[picked].sort_values("question")

    def source(self, role: str, setting: tuple[str, float, str], measure: str) -> dict:
        """Where a number of one setting comes from, see `analysis.sources`."""
        where = dict(zip(truthfulness.SETTING, setting, strict=True))
        path = dola_path(self.model, self.questions)
        return source(role, path, where, len(self.at(*setting)), measure, removed=self.removed)

    @property
    def buckets(self) -> list[str]:
        """Buckets in the order of their bounds."""
        found = set(self.metrics["bucket"]) - {""}
        return sorted(found, key=lambda bucket: [int(end) for end in bucket.split("-")][::-1])

    @property
    def alphas(self) -> list[float]:
        """Alphas of the grid."""
        return sorted(set(self.metrics.loc[self.metrics["bucket"] != "", "alpha"]))

    @property
    def bucket_alpha(self) -> float:
        """The alpha at which buckets are compared: 0.1, or the nearest that the study has."""
        return min(self.alphas, key=lambda alpha: (abs(alpha - BUCKET_ALPHA), alpha))

    def _mean(self, bucket: str, alpha: float) -> float:
        return self.at(bucket, alpha, "softmax")[self.lead].mean()

    @property
    def best_bucket(self) -> str:
        """The bucket with the largest MC1 (FACTOR: accuracy); the first of equals."""
        return max(self.buckets, key=lambda bucket: self._mean(bucket, self.bucket_alpha))

    @property
    def best(self) -> tuple[str, float]:
        """Bucket and alpha with the largest MC1 of all that the study ran: every bucket, then every alpha."""
        tried = [(bucket, self.bucket_alpha) for bucket in self.buckets]
        tried += [(self.best_bucket, alpha) for alpha in self.alphas]
        return max(tried, key=lambda setting: self._mean(*setting))


def write(
    results: Path, models: Sequence[str], sets: Sequence[tuple[str, str]], removed: bool, shared_ties: bool, out: Path
) -> None:
    """Write every table into `out`.

    sets: (name, form) of the study's question sets. removed: the protocol's `dola_mask`. shared_ties: its `ties`.
    """
    runs = {form: [] for form in METRICS}
    for name, form in sets:
        for model in models:
            scores = read_dola(results, model, name)
            metrics = truthfulness.per_question(scores, removed)
            blocks = read_model(results, model)["layers"]
            runs[form].append(Run(model, name, metrics, blocks, METRICS[form][0], removed))
    for number in CAPTIONS:
        shown = [run for run in runs[FORM_OF[number]] if _belongs(number, run)]
        table = cells(number, shown, shared_ties)
        forms.write(out, number, CAPTIONS[number], table, printed(table), notes(number, shown))


def _belongs(number: int, run: Run) -> bool:
    """Tables of buckets are one for smaller and one for larger models."""
    return number not in (4, 5, 8, 9) or (run.blocks >= LARGE_BLOCKS) == (number in (5, 9))


def cells(number: int, runs: Sequence[Run], shared_ties: bool) -> pd.DataFrame:
    """The cells of one table, under `artefacts.CELLS`; rows are models, columns "<metric> <setting>"."""
    rows = []
    for run in runs:
        for metric in METRICS[FORM_OF[number]]:
            for column, setting in settings(number, run):
                rows.append(_cell(run, metric, column, setting, shared_ties))
        rows += _comparison(number, run)
    return artefacts.cells(rows)


def settings(number: int, run: Run) -> list[tuple[str, tuple[str, float, str]]]:
    """The columns of a table for one model: name and (bucket, alpha, variant)."""
    base = ("base", ("", 0.0, "base"))
    bucket, alpha = run.best
    if number in (1, 2):
        return [base, ("DoLa", (bucket, alpha, "softmax"))]
    if number in (4, 5, 8, 9):
        return [(f"{name}%", (name, run.bucket_alpha, "softmax")) for name in run.buckets]
    if number in (6, 10):
        by_alpha = [(f"alpha {value:g}", (run.best_bucket, value, "softmax")) for value in run.alphas]
        return ([base] if number == 10 else []) + by_alpha
    return [
        base,
        ("DoLa", (bucket, alpha, "softmax")),
        ("DoLa w/o softmax", (bucket, 0.0 if 0.0 in run.alphas else alpha, "no_softmax")),
        ("base + length bias", ("", 0.0, "length_bias")),
    ]


def _cell(run: Run, metric: str, column: str, setting: tuple[str, float, str], shared_ties: bool) -> tuple:
    frame = run.at(*setting)
    measure = f"{metric}_shared" if shared_ties and f"{metric}_shared" in frame else metric
    values = frame[measure]
    low, high = truthfulness.wilson(values) if metric in PROPORTIONS else (None, None)
    sources = json.dumps([run.source("value", setting, measure)])
    return _row(run), f"{NAMES[metric]} {column}", values.mean(), len(values), low, high, SHARE, sources


def _comparison(number: int, run: Run) -> list[tuple]:
    """Beside base and DoLa: McNemar's p, the share of ties and of masked best answers."""
    if number not in (1, 2):
        return []
    (_, base), (_, dola) = settings(number, run)
    hits = run.at(*base)[run.lead], run.at(*dola)[run.lead]
    found = [("McNemar p", truthfulness.mcnemar(*hits), P_VALUE, [("base", base, run.lead), ("DoLa", dola, run.lead)])]
    for name, setting in (("base", base), ("DoLa", dola)):
        found.append((f"ties {name}", run.at(*setting)["tied"].mean(), SHARE, [("value", setting, "tied")]))
    masked = run.at(*dola)["best_masked"].mean()
    found.append(("masked best answers DoLa", masked, SHARE, [("value", dola, "best_masked")]))
    return [
        (_row(run), name, value, len(hits[0]), None, None, unit, json.dumps([run.source(*entry) for entry in entries]))
        for name, value, unit, entries in found
    ]


def _row(run: Run) -> str:
    return f"{run.model} ({run.questions})"


def printed(table: pd.DataFrame) -> pd.DataFrame:
    """Models by columns, four digits as in the paper."""
    text = table.assign(text=[f"{value:.4f}" for value in table["value"]])
    columns = list(dict.fromkeys(table["column"]))
    form = text.pivot(index="row", columns="column", values="text").fillna("")
    form = form.reindex(index=table["row"].unique(), columns=columns)
    return form.rename_axis(index="Model", columns=None)


def notes(number: int, runs: Sequence[Run]) -> list[str]:
    """What a reader must know."""
    if not runs:
        size = {4: "below", 5: "of at least", 8: "below", 9: "of at least"}.get(number)
        which = f" {size} {LARGE_BLOCKS} blocks" if size else ""
        kind = {"primer": "questions", "continuation": "texts to be continued"}[FORM_OF[number]]
        return [f"Empty: this study has no model{which} with a set of {kind}."]
    lines = [
        f"{_row(run)}: {run.metrics['question'].nunique()} questions; best bucket {run.best_bucket} % at alpha "
        f"{run.bucket_alpha:g}, best setting {run.best[0]} % with alpha {run.best[1]:g}."
        for run in runs
    ]
    lines.append("Best settings are chosen on the questions that they are reported on, as in the paper.")
    if number in (1, 2):
        lines.append("McNemar's test is exact and paired over questions; it does not correct for the choice above.")
    return lines
