"""Rules on what function vectors and task vectors recover (`tables/recovery`, Table 3, Figures 11 and 15)."""

import json

import numpy as np
import pandas as pd

from offcourse.analysis import inference, recovery
from offcourse.claims.counts import registry, share_of_models
from offcourse.claims.numbers import Found, NoDataError, Numbers


def share_recovered(numbers: Numbers, table: str, row: str, column: str) -> Found:
    """Percentage of model-task pairs that reach a fraction of few-shot accuracy: a cell of Table 3.

    It is counted pair by pair; where only the table is at hand (as printed) it is the cell.
    """
    try:
        reached = _reached(numbers, row, column)
    except NoDataError:
        return cell(numbers, table, row, column)
    low, high = inference.share_of_pairs(reached, "pairs")
    return _over_pairs(100 * reached, 100 * low, 100 * high)


def share_recovered_more(numbers: Numbers, table: str, row: str, minus: str, column: str) -> Found:
    """Difference of two cells of Table 3, in points, with a bootstrap of the pairs that both rows have.

    As printed it has no interval.
    """
    try:
        more = _reached(numbers, row, column) - _reached(numbers, minus, column)
    except NoDataError:
        one, other = (cell(numbers, table, name, column) for name in (row, minus))
        return Found(one.value - other.value, n=one.n, models=one.models)
    low, high = inference.difference_of_pairs(more, "pairs")
    return _over_pairs(100 * more, 100 * low, 100 * high)


def cell(numbers: Numbers, table: str, row: str, column: str) -> Found:
    """One cell, with its interval where it has one."""
    frame = numbers.table(int(table))
    frame = frame[(frame["row"] == row) & (frame["column"] == column) & frame["value"].notna()]
    if frame.empty:
        raise NoDataError(f"Table {table} has no {row} at {column} here")
    [found] = frame.iloc[:1].to_dict("records")
    n = None if pd.isna(found["n"]) else int(found["n"])
    behind = {entry["artefact"].split("/")[0] for entry in json.loads(found.get("sources") or "[]")}
    return Found(*(float(found[name]) for name in ("value", "ci_low", "ci_high")), n, len(behind) or None)


def share_that_recover(numbers: Numbers, method: str, at_least: str, group: str = "", billions: str = "0") -> Found:
    """Percentage of models whose mean peak recovery is at least `at_least`.

    group: of tasks; "" for all. billions: the fewest parameters that a model may have.
    """
    frame = _peaks(numbers, method)
    frame = frame[frame["group"] == group] if group else frame
    sizes = registry().models
    means = frame.groupby("model", sort=False)["peak"].mean().dropna()
    # As the paper rounds: a model sold as 13B has a little less or more.
    large = [m for m in means.index if float(billions) == 0 or round(sizes[m].parameters / 1e9) >= float(billions)]
    return share_of_models({model: means[model] >= float(at_least) for model in large}, "the table of recovery")


def share_that_fail(numbers: Numbers, method: str, at_least: str, group: str = "") -> Found:
    """Percentage of models whose mean peak recovery stays below `at_least`."""
    found = share_that_recover(numbers, method, at_least, group)
    return Found(100 - found.value, 100 - found.high, 100 - found.low, found.n, found.models)


def share_with_low_average(numbers: Numbers, method: str, part: str) -> Found:
    """Percentage of models whose average recovery is below `part` of their peak recovery (means over tasks)."""
    means = _peaks(numbers, method).groupby("model", sort=False)[["peak", "average"]].mean().dropna()
    low = {model: row["average"] < float(part) * row["peak"] for model, row in means.iterrows()}
    return share_of_models(low, "the table of recovery")


def mean_change_of_pairs(numbers: Numbers, method: str, above: str = "") -> Found:
    """Mean change of peak recovery from a base model to the one post-trained from it, with Student's interval.

    Mean over the tasks of each pair of models, then over pairs. above: of function vectors with more heads than that
    only, the mean over those numbers of heads that both models have.
    """
    frame = _peaks(numbers, method)
    if above:
        frame = frame[frame["n_heads"] > int(above)]
    units = frame.pivot(index="model", columns=["task", "n_heads"], values="peak")
    pairs = registry().post_training(list(units.index))
    changes = {post: (units.loc[post] - units.loc[base]).mean() for base, post in pairs}
    known = np.array([change for change in changes.values() if not np.isnan(change)])
    if not len(known):
        raise NoDataError("there is no base model here with the model post-trained from it")
    return Found(float(known.mean()), *inference.student_interval(known), len(known), len(known))


def mean_change_by_shots(numbers: Numbers, shots: str, minus: str) -> Found:
    """Mean over models of their accuracy with so many shots less that with fewer, with Student's interval."""
    wide = numbers.figure("figure11").pivot(index="model", columns="shots", values="accuracy")
    missing = {int(shots), int(minus)} - set(wide.columns)
    if missing:
        lacks, has = (", ".join(f"{count}-shot" for count in sorted(counts)) for counts in (missing, wide.columns))
        raise NoDataError(f"there is no {lacks} accuracy here, only {has}")
    changes = (wide[int(shots)] - wide[int(minus)]).dropna().to_numpy(float)
    return Found(float(changes.mean()), *inference.student_interval(changes), len(changes), len(changes))


def spread_of_layers(numbers: Numbers, share: str) -> Found:
    """How wide the central `share` of the best layers is over model-task pairs, in percent of the depth."""
    known = numbers.figure("figure15").dropna(subset=["value"])
    if known.empty:
        raise NoDataError("function vectors recover nothing here, so no layer is best")
    wide = known.pivot(index="model", columns="task", values="value")
    value, low, high = inference.spread_of_pairs(wide, float(share), "pairs")
    return Found(value, low, high, len(known), known["model"].nunique())


# Facts of Table 11 that the paper names: layers, heads, vocabulary, width, kind of attention, activation, context.
FACTS = ("n_layers", "n_heads", "vocab_size", "hidden_dim", "attention", "hidden_act", "context_len")


def strongest_fact(numbers: Numbers, method: str) -> Found:
    """The largest rank correlation (without its sign) of a model's mean peak recovery with a fact of its architecture.

    Families of models are resampled; each correlation has the level that all of them together keep 95 % with
    (Bonferroni). The ends are the largest lower and the largest upper end: below the first all cannot be, above the
    second none.
    """
    facts = numbers.table(11)
    facts = facts[facts["column"].isin(FACTS)].pivot(index="row", columns="column", values=["value", "text"])
    means = _peaks(numbers, method).groupby("model", sort=False)["peak"].mean().dropna()
    models = [model for model in means.index if model in facts.index]
    families = [registry().model(model).family for model in models]
    if len(set(families)) < 3:
        raise NoDataError("fewer than three families of models here")
    columns = {}
    for fact in FACTS:
        values = facts["value"][fact].reindex(models)
        if values.isna().any():
            # A kind, not a number: the commonest against the others.
            text = facts["text"][fact].reindex(models)
            values = (text == text.mode().iloc[0]).astype(float)
        columns[fact] = values.to_numpy(float)
    value, low, high, fact = inference.largest_correlation(means[models].to_numpy(), columns, families)
    if not fact:
        raise NoDataError("the models here differ in none of the facts")
    return Found(value, low, high, len(models), len(set(families)), fact)


def _peaks(numbers: Numbers, method: str) -> pd.DataFrame:
    """Rows of one method of tables/recovery, as fractions of the pair's own few-shot accuracy; NaN where that is 0."""
    frame = numbers.evidence("recovery")
    frame = frame[frame["method"] == method]
    if frame.empty:
        raise NoDataError(f"there is no {method} here")
    few_shot = frame["own_few_shot"].where(frame["own_few_shot"] > 0)
    return frame.assign(peak=frame["peak"] / few_shot, average=frame["average"] / few_shot)


def _reached(numbers: Numbers, method: str, quantile: str) -> pd.DataFrame:
    """[models, tasks] of 0 and 1: whether the pair reaches that fraction; NaN where the method has no such pair."""
    frame = numbers.evidence("recovery")
    frame = frame[frame["method"] == method]
    if frame.empty:
        raise NoDataError(f"there is no {method} here")
    reached = [recovery.reaches(pair.peak, float(quantile), pair.few_shot) for pair in frame.itertuples()]
    return frame.assign(reached=reached).pivot(index="model", columns="task", values="reached").astype(float)


def _over_pairs(values: pd.DataFrame, low: float, high: float) -> Found:
    known = values.to_numpy(float)
    known = known[~np.isnan(known)]
    return Found(float(known.mean()), low, high, len(known), int(values.notna().any(axis=1).sum()))
