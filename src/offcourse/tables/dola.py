"""Tables 1, 2 and 4 to 10: the base model and DoLa on TruthfulQA (MC1 to MC3) and on FACTOR (accuracy)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from offcourse.analysis import inference, selection, truthfulness
from offcourse.analysis.results import read_dola
from offcourse.analysis.sources import ALPHA, DEPTH, P_VALUE, listed
from offcourse.analysis.view import ResultsView
from offcourse.data.rows import LARGE_ABOVE
from offcourse.schemas.results import as_cells
from offcourse.tables import writing
from offcourse.tables.dola_runs import METRICS, Choice, DolaRun, measure, run_of

NAMES = {"mc1": "MC1", "mc2": "MC2", "mc3": "MC3", "factor": "accuracy"}
CAPTIONS = {
    1: "Truthfulness of the base model and of DoLa in its best setting by MC1.",
    2: "FACTOR accuracy, in percent, of the base model and of DoLa in its best setting.",
    4: "Truthfulness by bucket of premature layers, smaller models.",
    5: "Truthfulness by bucket of premature layers, larger models.",
    6: "Truthfulness by alpha, at the best bucket.",
    7: "Truthfulness of the base model, DoLa, DoLa without the softmax, and the base model with a length bias.",
    8: "FACTOR accuracy by bucket of premature layers, smaller models.",
    9: "FACTOR accuracy by bucket of premature layers, larger models.",
    10: "FACTOR accuracy by alpha, at the best bucket.",
}
FORM_OF = {number: "continuation" if number in (2, 8, 9, 10) else "primer" for number in CAPTIONS}
BY_BUCKET = (4, 5, 8, 9)
COMPARED = (1, 2)
# Units of cells: a share of questions, or in Table 2, as in the paper, a percentage. "questions" alone marks the
# metric.
MCNEMAR = "McNemar p"
QUESTIONS, TIED, MASKED = "questions", "questions that tie", "questions whose best answer has a masked token"
OTHER_TIES = "questions, other tie rule"


def write(view: ResultsView, out: Path) -> None:
    """Write Tables 1, 2 and 4 to 10 into `out`."""
    removed, shared_ties = view.switch("dola_mask") == "removed", view.switch("ties") == "shared"
    exact, selected = view.switch("score_dtype") == "float64", view.switch("selection")
    runs = {form: [] for form in METRICS}
    for name, form in view.forms("dola"):
        for model in view.models("dola"):
            metrics = truthfulness.per_question(read_dola(view, model, name), removed, exact)
            runs[form].append(run_of(view, model, name, form, metrics, shared_ties, selected, removed, exact))
    for number in CAPTIONS:
        shown = [run for run in runs[FORM_OF[number]] if _belongs(number, run)]
        table = cells(number, shown, shared_ties)
        lines = notes(number, shown, shared_ties)
        writing.write(out, number, CAPTIONS[number], table, printed(number, table), lines)


def _belongs(number: int, run: DolaRun) -> bool:
    """Whether a run belongs to a table: tables of buckets are for smaller models only, or for larger models only."""
    return number not in BY_BUCKET or run.large == (number in (5, 9))


def cells(number: int, runs: Sequence[DolaRun], shared_ties: bool) -> pd.DataFrame:
    """The cells of one table, of schema `CELLS`; rows are models, columns "<metric> <setting>".

    The parquet file has cells that the printed table (`printed`) leaves out: numbers under the other tie rule
    ("<column>, ties shared" or "<column>, ties as coded") and, except in Tables 1 and 2, the shares of ties and of
    masked best answers of every column.
    """
    rows = []
    for run in runs:
        for metric in METRICS[FORM_OF[number]]:
            rows += _metric(number, run, metric, shared_ties)
        rows += _best(number, run)
        rows += _comparison(number, run)
        rows += _beside(number, run)
    return as_cells(rows)


def settings(number: int, run: DolaRun) -> list[tuple[str, Choice]]:
    """The columns of a table for one model, as (name, choice of the setting)."""

    def fixed(*setting) -> Choice:
        return lambda questions: setting

    base = ("base", fixed("", 0.0, "base"))
    if number in COMPARED:
        return [base, ("DoLa", run.best)]
    if number in BY_BUCKET:
        return [(f"{name}%", fixed(name, run.bucket_alpha, "softmax")) for name in run.buckets]
    if number in (6, 10):
        by_alpha = [
            (f"alpha {value:g}", lambda questions, value=value: (run.best_bucket(questions), value, "softmax"))
            for value in run.alphas
        ]
        return ([base] if number == 10 else []) + by_alpha
    return [
        base,
        ("DoLa", run.best),
        ("DoLa w/o softmax", run.without_softmax),
        ("base + length bias", fixed("", 0.0, "length_bias")),
    ]


def _metric(number: int, run: DolaRun, metric: str, shared_ties: bool) -> list[tuple]:
    """The cells of a metric in every setting, under the study's tie rule and under the other one."""
    rows = []
    for column, choice in settings(number, run):
        name = f"{NAMES[metric]} {column}"
        rows.append(_cell(number, run, name, choice, measure(metric, shared_ties), metric, QUESTIONS))
        if metric != "mc2":
            other = measure(metric, not shared_ties)
            rule = "as coded" if shared_ties else "shared"
            rows.append(_cell(number, run, f"{name}, ties {rule}", choice, other, metric, OTHER_TIES))
    return rows


def _cell(number: int, run: DolaRun, name: str, choice: Choice, column: str, metric: str, what: str) -> tuple:
    """A cell with its interval, which is Wilson's or (MC2, MC3) a bootstrap. column: a column of `DolaRun.metrics`.

    The cell is empty if the results lack the number, as the release lacks masked answers.
    """
    values = run.values(choice, column)
    mean, scale = values.mean(0), 100 if number == 2 else 1
    low, high = _interval(mean, metric, run.questions)
    unit = f"{'%' if number == 2 else 'share'} of {what}"
    return _row(run), name, scale * mean.mean(), len(mean), scale * low, scale * high, unit, run.sources(choice, column)


def _interval(values: np.ndarray, metric: str, questions: str) -> tuple[float, float]:
    """The 95 % interval of the mean of one number per question; NaN if the results lack the number."""
    if np.isnan(values).any():
        return np.nan, np.nan
    if metric in inference.CONTINUOUS:
        return inference.over_items(values, questions) if len(values) > 1 else (np.nan, np.nan)
    return truthfulness.wilson(values)


def _best(number: int, run: DolaRun) -> list[tuple]:
    """Cells of the chosen alpha and bucket (two percentages of depth); of several choices, the most frequent one."""
    if number not in (6, 7, 10):
        return []
    (bucket, alpha, variant), _ = run.usual(run.best)
    if number in (6, 10):
        bucket, _ = run.usual(run.best_bucket)
        alpha = run.bucket_alpha
    low, high = map(float, bucket.split("-"))
    found = [("best alpha", alpha, ALPHA)] if number == 7 else []
    found += [("best bucket from", low, DEPTH), ("best bucket to", high, DEPTH)]
    count = run.metrics["question"].nunique()
    sources = listed(run.entry("chosen", (bucket, alpha, variant), run.lead))
    return [(_row(run), name, value, count, None, None, unit, sources) for name, value, unit in found]


def _comparison(number: int, run: DolaRun) -> list[tuple]:
    """The cell of McNemar's p-value for base and DoLa.

    For several repetitions (halvings) the cell is twice the median of their p-values, which is valid for any
    dependence.
    """
    if number not in COMPARED:
        return []
    base, dola = (run.values(choice, run.lead) for _, choice in settings(number, run))
    tests = [truthfulness.mcnemar(*pair) for pair in zip(base, dola, strict=True)]
    p = tests[0] if len(tests) == 1 else min(1.0, 2 * float(np.median(tests)))
    sources = run.paired_sources(settings(number, run))
    return [(_row(run), MCNEMAR, p, base.shape[1], None, None, P_VALUE, sources)]


def _beside(number: int, run: DolaRun) -> list[tuple]:
    """Cells of the shares of ties and of masked best answers, for every column."""
    columns = settings(number, run)
    ties = [_cell(number, run, f"ties {name}", choice, "tied", "", TIED) for name, choice in columns]
    return ties + [
        _cell(number, run, f"masked best answers {name}", choice, "best_masked", "", MASKED)
        for name, choice in columns
        if not name.startswith("base")
    ]


def _row(run: DolaRun) -> str:
    return f"{run.model} ({run.questions})"


def printed(number: int, table: pd.DataFrame) -> pd.DataFrame:
    """The table as printed: models by columns, with the paper's digits."""
    form = table.assign(text=[_text(number, cell) for cell in table.itertuples()])
    form = form[form["text"].notna()]
    high = form[form["column"] == "best bucket to"].set_index("row")["text"]
    bucket = form["column"] == "best bucket from"
    form.loc[bucket, "text"] = [f"{cell.text}-{high[cell.row]}%" for cell in form[bucket].itertuples()]
    form = form[form["column"] != "best bucket to"].replace({"column": {"best bucket from": "best bucket"}})
    columns = list(dict.fromkeys(form["column"]))
    wide = form.pivot(index="row", columns="column", values="text").fillna("")
    wide = wide.reindex(index=table["row"].unique(), columns=columns)
    if number in COMPARED and len(wide):
        tests = table[table["unit"] == P_VALUE].set_index("row")["value"].reindex(wide.index)
        corrected = [f"{p:.2g}" for p in inference.holm(tests.tolist())]
        wide.insert(columns.index(MCNEMAR) + 1, f"{MCNEMAR} (Holm)", corrected)
    return wide.rename_axis(index="Model", columns=None)


def _text(number: int, cell) -> str | None:
    """A cell as printed text, with the digits that its items support; None for a cell that is not printed."""
    kind = cell.unit.removeprefix("% of ").removeprefix("share of ")
    if kind == OTHER_TIES or (kind in (TIED, MASKED) and number not in COMPARED):
        return None
    if cell.unit == DEPTH or (kind == QUESTIONS and number == 2):
        return f"{cell.value:.0f}"
    if cell.unit == ALPHA:
        return f"{cell.value:g}"
    if kind == QUESTIONS and number == 1:
        return f"{cell.value:.2f}"
    if pd.isna(cell.value):
        return "n/a"
    if cell.unit == P_VALUE:
        return f"{cell.value:.2g}"
    if cell.unit.startswith("%"):
        return f"{cell.value:.{writing.digits(cell.n, 3) - 2}f}"
    return f"{cell.value:.{writing.digits(cell.n, 4)}f}"


def notes(number: int, runs: Sequence[DolaRun], shared_ties: bool) -> list[str]:
    """The notes below a table."""
    if not runs:
        size = {4: "up to", 5: "above", 8: "up to", 9: "above"}.get(number)
        which = f" {size} {LARGE_ABOVE}B parameters" if size else ""
        kind = {"primer": "questions", "continuation": "texts to be continued"}[FORM_OF[number]]
        return [f"Empty: this study has no model{which} with a set of {kind}."]
    lines = [choices(run) for run in runs]
    if number in BY_BUCKET:
        lines += [_premature(run) for run in runs if len(run.premature)]
    else:
        lines.append(selection.note(runs[0].selected, "Best settings and buckets"))
    if number in COMPARED:
        same = runs[0].selected == "same_items"
        rest = (
            "It does not correct for the choice of settings" if same else "Its p is twice the median over the halvings"
        )
        lines.append(
            f"McNemar's test is exact and paired over questions. {rest}. Holm's correction is over the table's rows."
        )
    lines.append("95% intervals are Wilson's, and of MC2 and MC3 by bootstrap over questions.")
    if any(run.metrics["best_masked"].isna().any() for run in runs):
        lines.append("The share of masked best answers is n/a: the released scores do not say which tokens are masked.")
    coded = "right" if FORM_OF[number] == "continuation" else "wrong"
    rule = "is split between the tied answers" if shared_ties else f"counts as {coded}"
    lines.append(
        f"A tie of the best answer with a false one {rule} (protocol ties). Both rules, and the shares of ties and of "
        f"masked best answers in every column, are in table{number}.parquet."
    )
    return lines


def choices(run: DolaRun) -> str:
    """A note: the best settings of one run, which it begins with."""
    bucket, often = run.usual(run.best_bucket)
    (best, alpha, _), share = run.usual(run.best)
    chosen = ["", ""] if run.selected == "same_items" else [f" ({part:.0%} of the choices)" for part in (often, share)]
    return (
        f"{_row(run)}: {run.metrics['question'].nunique()} questions; best bucket {bucket} % at alpha "
        f"{run.bucket_alpha:g}{chosen[0]}, best setting {best} % with alpha {alpha:g}{chosen[1]}."
    )


def _premature(run: DolaRun) -> str:
    """A note: the premature layer that DoLa chose most often in each bucket."""
    parts = []
    for bucket in run.buckets:
        counts = run.premature[run.premature["bucket"] == bucket].set_index("layer")["tokens"]
        parts.append(f"{bucket} % layer {counts.idxmax()} ({counts.max() / counts.sum():.0%} of tokens)")
    return f"{_row(run)}, premature layer chosen most often: {'; '.join(parts)}."
