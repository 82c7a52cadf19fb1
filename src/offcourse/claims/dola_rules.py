"""Rules on what DoLa changes (Tables 1, 2 and 4 to 7, `tables/dola_changes`)."""

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.stats import norm

from offcourse.analysis import inference
from offcourse.claims.counts import share_of_models
from offcourse.claims.numbers import Found, NoDataError, Numbers, model_of

# The row that the paper quotes from Chuang et al. (2024) is no result of its own.
QUOTED = "*"
LEVEL = 0.05
# Numbers of a table are decimals: 0.32 - 0.26 is not below 0.06.
SLACK = 1e-9


def share_that_gains(numbers: Numbers, table: str, metrics: str, by: str, **ends: str) -> Found:
    """Percentage of models that gain in most of the metrics: column `to` is at least `by` above column `from`.

    A model without some of these columns is left out.
    """
    frame, names = _own_rows(numbers.table(int(table))), _names(metrics)
    before, after = (frame.reindex(columns=[f"{name} {ends[end]}" for name in names]) for end in ("from", "to"))
    gains = pd.DataFrame(after.to_numpy(float) - before.to_numpy(float), index=frame.index).dropna()
    met = (gains >= float(by) - SLACK).mean(axis=1) > 0.5
    return share_of_models(_by_model(met), f"Table {table}")


def share_significant(numbers: Numbers, table: str, metric: str) -> Found:
    """Percentage of models that DoLa improves significantly: McNemar's exact test, Holm's correction over models."""
    frame = _own_rows(numbers.table(int(table)))
    if "McNemar p" not in frame:
        raise NoDataError(f"no test of Table {table} is printed")
    frame = frame.dropna(subset=["McNemar p"])
    gains = frame[f"{metric} DoLa"] > frame[f"{metric} base"]
    sure = np.array(inference.holm(frame["McNemar p"].tolist())) < LEVEL
    return share_of_models(_by_model(gains & sure), f"Table {table}")


def share_with_one_answer(numbers: Numbers, metric: str, by: str) -> Found:
    """Percentage of models of which every bucket and every alpha says alike whether DoLa gains `by`."""
    base = _own_rows(numbers.table(1))
    if f"{metric} base" not in base:
        raise NoDataError("Table 1 has no model here")
    tried = []
    for number in (4, 5, 6):
        frame = _own_rows(numbers.table(number))
        tried.append(frame[[column for column in frame if column.startswith(f"{metric} ") and "," not in column]])
    grid = pd.concat(tried, axis=1).reindex(base.index)
    gains = grid.sub(base[f"{metric} base"], axis=0)
    gained = (gains >= float(by) - SLACK).where(gains.notna())
    alike = gained.dropna(how="all").apply(lambda row: row.dropna().nunique() == 1, axis=1)
    return share_of_models(_by_model(alike), "Table 4")


def smallest_change(numbers: Numbers, model: str, metrics: str) -> Found:
    """What DoLa changes of the metric of a model that it helps least; all rise where the lower end is above 0."""
    rows = _changes(numbers, model, _names(metrics))
    least = min(rows, key=lambda row: row.value)
    return replace(least, low=min(row.low for row in rows))


def largest_loss(numbers: Numbers, models: str, metrics: str) -> Found:
    """The loss in the metric that DoLa harms most, of that model of several of which this loss is smallest.

    Since the metric is chosen by its loss, the interval is widened to hold for all metrics together (Bonferroni, as if
    the bootstrap's were normal).
    """
    names = _names(metrics)
    wider = norm.ppf(1 - LEVEL / 2 / len(names)) / norm.ppf(1 - LEVEL / 2)
    lost = [min(_changes(numbers, model, names), key=lambda row: row.value) for model in _names(models)]
    least = max(lost, key=lambda row: row.value)
    ends = (least.value + wider * (end - least.value) for end in (least.low, least.high))
    return Found(least.value, *ends, least.n, len(lost), least.note)


def _changes(numbers: Numbers, model: str, metrics: list[str]) -> list[Found]:
    """What DoLa changes of a model's metrics in TruthfulQA; as printed without intervals."""
    try:
        frame = numbers.evidence("dola_changes")
        frame = frame[(frame["model"] == model) & frame["metric"].isin(metrics)]
        found = [
            Found(row.change, row.ci_low, row.ci_high, row.n, 1, f"{model}, {row.metric}") for row in frame.itertuples()
        ]
    except NoDataError:
        frame = _own_rows(numbers.table(1))
        frame = frame[frame.index.map(model_of) == model]
        found = [
            Found(float(row[f"{name} DoLa"] - row[f"{name} base"]), models=1, note=f"{model}, {name}")
            for _, row in frame.iterrows()
            for name in metrics
        ]
    if not found:
        raise NoDataError(f"{model} is not here")
    return found


def _own_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Values of a table, a row per model; without the row that is quoted."""
    own = frame[~frame["row"].str.contains(QUOTED, regex=False)]
    return own.pivot(index="row", columns="column", values="value")


def _by_model(met: pd.Series) -> dict[str, bool]:
    """Whether something is so, by model and question set: rows are "{model} ({question set})"."""
    return {str(row): bool(each) for row, each in met.items()}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]
