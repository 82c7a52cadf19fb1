"""Tables 11 and 12: facts of models, read from `model.json` and printed in the paper's form."""

from pathlib import Path

import pandas as pd

from offcourse.analysis.model_facts import COLUMNS, MISSING, known_facts, text
from offcourse.analysis.results import model_path, read_model
from offcourse.analysis.sources import FACT, listed, source
from offcourse.analysis.view import ResultsView
from offcourse.schemas.results import FACT_CELLS
from offcourse.tables import writing

NUMBERS = tuple(COLUMNS)
CAPTIONS = {
    11: "Architecture of the models. A head is an attention head, total_heads those of all layers.",
    12: "Training of the models, as their authors describe it.",
}
NOTES = {
    11: [
        "Numbers of layers, heads and sizes are those of the loaded weights; the words are those of "
        "resources/models.tsv. The paper writes LayerNorm throughout; RMSNorm is what these models compute.",
    ],
    12: [f"From resources/models.tsv; {MISSING} where nothing was published."],
}
FOR_RELEASE = "No weights were read for these tables of the release: everything is from resources/models.tsv."


def write(view: ResultsView, out: Path) -> None:
    """Write `table11` and `table12` as parquet (`FACT_CELLS`), csv, md and tex into `out`.

    There is a row per model, in the folder's order. The `model.json` of a released model holds the row of models.tsv.
    Raises `OffcourseError` for a `model.json` that is missing or damaged.
    """
    models, loaded = view.models(), view.loaded
    known = {model: read_model(view, model) for model in models}
    names = {model: row["repo"] if row.get("source") == "hub" else model for model, row in known.items()}
    for number in NUMBERS:
        table = pd.DataFrame(
            [
                _cell(model, column, fact, known_facts(known[model]))
                for model in models
                for column, fact in COLUMNS[number].items()
            ],
            columns=list(FACT_CELLS.columns),
        ).astype({"value": float, "ci_low": float, "ci_high": float})
        notes = NOTES[number] if loaded else [FOR_RELEASE]
        form = paper_form(table).rename(index=names)
        writing.write(out, number, CAPTIONS[number], table, form, notes, schema=FACT_CELLS)


def _cell(model: str, column: str, fact: str, known: dict) -> tuple:
    value = known[fact]
    parts = ("layers", "heads") if fact == "total_heads" else (fact,)
    sources = listed(*(source(part, model_path(model), {}, 1, part) for part in parts))
    number = value if isinstance(value, int) else float("nan")
    return model, column, number, 1, float("nan"), float("nan"), FACT, sources, text(value)


def paper_form(table: pd.DataFrame) -> pd.DataFrame:
    """The printed table: a row per model, a column per fact."""
    wide = table.pivot(index="row", columns="column", values="text")
    wide = wide.loc[table["row"].unique(), table["column"].unique()]
    return wide.rename_axis(index="Model Name", columns=None)
