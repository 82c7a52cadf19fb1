"""Three numbers for every cell of the paper's tables: printed, computed from the authors' release, and a study's.

This module reads Tables 1 to 10 of the release and of a study, which one piece of code makes (`tables.table3`,
`tables.dola`). Tables 11 and 12 are facts of models; their `release` is the fact in the model's own configuration
(models.tsv).
"""

from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from offcourse.analysis import model_facts
from offcourse.analysis.results import model_path, read_model
from offcourse.data.names import RESOURCES
from offcourse.data.printed import NUMBERS, read_printed
from offcourse.data.registry import Registry
from offcourse.data.tsv import FILLED, read_tsv
from offcourse.errors import OffcourseError, did_you_mean
from offcourse.layout import command_for_release
from offcourse.schemas.io import read_parquet
from offcourse.schemas.results import CELLS

EQUAL, ROUNDING, DIFFERENT, CANNOT = "equal at the printed precision", "rounding", "different", "cannot be made"
VERDICTS = (EQUAL, ROUNDING, DIFFERENT, CANNOT)
TABLES = tuple(f"table{number}" for number in (*NUMBERS, *model_facts.NUMBERS))
# printed: the text. printed_value, release, ours: numbers in the table's unit, missing where there is no number or the
# cell is a text (Tables 11 and 12). ours_why: why the study has no number; empty if it has one or no study was given.
COMPARISON = pa.DataFrameSchema(
    {
        "table": pa.Column(str, pa.Check.isin(TABLES)),
        "row": pa.Column(str),
        "column": pa.Column(str),
        "printed": pa.Column(str),
        "printed_value": pa.Column(float, nullable=True),
        "release": pa.Column(float, nullable=True),
        "ours": pa.Column(float, nullable=True),
        "verdict": pa.Column(str, pa.Check.isin(VERDICTS)),
        "reason": pa.Column(str),
        "ours_why": pa.Column(str),
    },
    strict=True,
    ordered=True,
    unique=["table", "row", "column"],
)
REASONS = pa.DataFrameSchema(
    {"table": FILLED, "row": FILLED, "column": FILLED, "reason": FILLED}, strict=True, unique=["table", "row", "column"]
)
SLACK = 1e-9  # for rounding of decimals in binary, see `recovery.SLACK`
QUOTED, NOT_RELEASED = "quoted by the paper from Chuang et al. (2024)", "the release does not have it"


def comparison(published: Path, study: Path | None = None, resources: Path = RESOURCES) -> pd.DataFrame:
    """Every printed cell of Tables 1 to 12, under `COMPARISON`.

    published: folder of the release's results and tables (`results/published`). study: folder of a finished study
    (`results/NAME`) or None. `ours` is missing for models that the study does not have; `ours_why` says what is
    missing. The study's Table 3 is over its own models and tasks.

    `verdict` compares printed and release: "equal at the printed precision"; "rounding", when they are less than one
    unit of the last printed digit apart and no other cause is known; "different"; or "cannot be made", when nothing was
    released. `reason` gives the cause where it is known.

    Raises `OffcourseError` when the release has no tables yet, and for a damaged one.
    """
    parts = [_numbers(number, Path(published), study and Path(study), resources) for number in NUMBERS]
    parts += [_facts(study and Path(study), resources)]
    frame = pd.concat(parts, ignore_index=True)
    known = _reasons(Path(resources) / "paper" / "reasons.tsv")
    keys = zip(frame["table"], frame["row"], frame["column"], strict=True)
    told = [known.get(key, "") for key in keys]
    frame["reason"] = [before or now for before, now in zip(frame["reason"], told, strict=True)]
    caused = frame["reason"].ne("") & frame["verdict"].eq(ROUNDING)
    frame.loc[caused, "verdict"] = DIFFERENT
    equal = frame["verdict"].eq(EQUAL)
    frame.loc[equal, "reason"] = ""
    return COMPARISON.validate(frame[list(COMPARISON.columns)])


def counts(frame: pd.DataFrame) -> pd.DataFrame:
    """Number of cells by table (rows) and verdict (columns `VERDICTS`), and a column `cells` for all."""
    found = pd.crosstab(frame["table"], frame["verdict"])
    found = found.reindex(index=[name for name in TABLES if name in found.index], columns=VERDICTS, fill_value=0)
    return found.assign(cells=found.sum(axis=1)).rename_axis(columns=None)


def of_table(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The cells of one table, such as `table6`. Raises `OffcourseError` with a did-you-mean."""
    if name not in TABLES:
        raise OffcourseError(f"there is no printed table {name!r}; {did_you_mean(name, TABLES)}")
    return frame[frame["table"] == name].reset_index(drop=True)


def verdict(printed: float, half: float, value: float) -> str:
    """The verdict on one cell: whether `value` agrees with `printed`. half: half a unit of the last printed digit."""
    if pd.isna(value):
        return CANNOT
    apart = abs(value - printed)
    return EQUAL if apart <= half + SLACK else ROUNDING if apart < 2 * half - SLACK else DIFFERENT


def _numbers(number: int, published: Path, study: Path | None, resources: Path) -> pd.DataFrame:
    """The comparison of one of Tables 1 to 10."""
    printed = read_printed(number, resources)
    path = published / "tables" / f"table{number}.parquet"
    if not path.exists():
        run = command_for_release(published.resolve().parents[1])
        raise OffcourseError(f"{path} is missing: the release has no tables yet. Run `{run}`, then this command again.")
    keys = pd.MultiIndex.from_frame(printed[["row", "column"]])
    ours, why = _of_study(number, study, keys)
    frame = printed.assign(
        table=f"table{number}",
        printed_value=printed["value"],
        release=_values(path, keys),
        ours=ours,
        ours_why=why,
    )
    cells = list(frame.itertuples())
    frame["verdict"] = [verdict(cell.value, cell.half, cell.release) for cell in cells]
    frame["reason"] = [
        (QUOTED if "*" in cell.row else NOT_RELEASED) if cell.verdict == CANNOT else "" for cell in frame.itertuples()
    ]
    return frame[list(COMPARISON.columns)]


def _of_study(number: int, study: Path | None, keys: pd.MultiIndex) -> tuple[list[float], list[str]]:
    """(a study's values of the cells, why a value is missing); the reason names what the study does not have."""
    if study is None:
        return [float("nan")] * len(keys), [""] * len(keys)
    path = study / "tables" / f"table{number}.parquet"
    if not path.exists():
        return [float("nan")] * len(keys), [f"no table{number}"] * len(keys)
    values, rows = _values(path, keys), set(read_parquet(path, CELLS)["row"])
    why = []
    for value, (row, column) in zip(values, keys, strict=True):
        model = row.partition(" (")[0]
        lacks = column if row in rows else row if (study / model_path(model)).exists() else model
        why.append(f"no {lacks}" if pd.isna(value) else "")
    return list(values), why


def _values(path: Path, keys: pd.MultiIndex):
    return read_parquet(path, CELLS).set_index(["row", "column"])["value"].reindex(keys).to_numpy()


def _facts(study: Path | None, resources: Path) -> pd.DataFrame:
    """The comparison of Tables 11 and 12."""
    rows = []
    for fact in model_facts.read_facts(Registry.load(resources, locked=False), resources):
        ours = None
        lacks = f"no {fact.model}" if study and not (study / model_path(fact.model)).exists() else ""
        if study and (study / model_path(fact.model)).exists():
            ours = fact.of(read_model(study, fact.model))
        alike = fact.printed_value == fact.value
        why = "" if alike else f"the model's own configuration or card says {fact.value or 'nothing'} (docs/models.md)"
        numbers = [_number(value) for value in (fact.printed_value, fact.value, ours)]
        told = EQUAL if alike else DIFFERENT, why, lacks
        rows.append((f"table{fact.table}", fact.model, fact.column, fact.printed, *numbers, *told))
    frame = pd.DataFrame(rows, columns=list(COMPARISON.columns))
    return frame.astype(dict.fromkeys(("printed_value", "release", "ours"), float))


def _number(value: object) -> float:
    """A fact as a number; NaN for a text."""
    return float(value) if isinstance(value, int) else float("nan")


def _reasons(path: Path) -> dict[tuple[str, str, str], str]:
    """{(table, row, column): the known cause of a difference}."""
    typed = read_tsv(path)
    try:
        REASONS.validate(typed)
    except pa.errors.SchemaError as error:
        raise OffcourseError(f"{path} is not a table of reasons: {str(error).splitlines()[0]}") from error
    return {(row.table, row.row, row.column): row.reason for row in typed.itertuples()}
