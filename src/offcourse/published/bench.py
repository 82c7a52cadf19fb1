"""README's tables of all methods side by side, from the tables of the study `studies/bench.yaml`."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from offcourse.figures.style import with_interval
from offcourse.schemas.io import read_unchecked

STUDY = "bench"
# Of the fractions of few-shot accuracy, the share of pairs that reach this one is shown.
REACHED = "0.90"
# The tables with verdicts on tasks: of steering methods, and of the paper's methods.
ON_TASKS = ("verdicts", "verdicts_function_vectors", "verdicts_task_vectors")


def as_markdown(tables: Path) -> str:
    """Both tables as Markdown: accuracy on tasks with the verdicts, and what changes on question sets.

    tables: the folder with `table_methods`, `table_methods_questions`, `verdicts_questions` and `ON_TASKS` as parquet
    files. Every number has the 95 % interval of its table.

    Raises `OffcourseError` for a table that is missing or damaged.
    """
    of_tasks = _by_row(read_unchecked(tables / "table_methods.parquet"))
    verdicts = pd.concat([read_unchecked(tables / f"{name}.parquet")[["method", "verdict"]] for name in ON_TASKS])
    tasks = [
        (
            method,
            _cell(cells["steered"]),
            f"{cells['few-shot'].value:.2f}",
            f"{round(cells[REACHED].n * cells[REACHED].value / 100)} of {cells[REACHED].n}",
            _said(verdicts.loc[verdicts["method"] == method, "verdict"]),
        )
        for method, cells in of_tasks.items()
        if "steered" in cells
    ]
    of_questions = _by_row(read_unchecked(tables / "table_methods_questions.parquet"))
    changes = [f"{measure} change" for measure in ("MC1", "MC2", "MC3")]
    asked = read_unchecked(tables / "verdicts_questions.parquet")
    names = asked["method"] + ", " + asked["model"] + " (" + asked["on"] + ")"
    questions = [
        (row, *(_cell(cells[name]) for name in changes), _said(asked.loc[names == row, "verdict"]))
        for row, cells in of_questions.items()
    ]
    reached = f"pairs that reach {REACHED} of few-shot"
    return "\n\n".join(
        (
            _table(("method, on two tasks", "steered", "few-shot", reached, "verdicts on the four pairs"), tasks),
            _table(("method, on 24 questions", *changes, "verdict"), questions),
        )
    )


def _by_row(cells: pd.DataFrame) -> dict[str, dict[str, tuple]]:
    """{row: {column: its cell}}, in the order of the table."""
    found: dict[str, dict[str, tuple]] = {}
    for cell in cells.itertuples():
        found.setdefault(cell.row, {})[cell.column] = cell
    return found


def _cell(cell: tuple) -> str:
    return with_interval(cell.value, cell.ci_low, cell.ci_high)


def _said(verdicts: pd.Series) -> str:
    """How often each verdict was found, and nothing of a single one; a dash for a method that has none."""
    counts = Counter(verdicts).most_common()
    if len(verdicts) == 1:
        return counts[0][0]
    return "; ".join(f"{verdict} ({count})" for verdict, count in counts) or "\N{EN DASH}"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    # Numbers are aligned to the right, verdicts are text.
    ruler = ("---" if name.startswith(("method", "verdict")) else "---:" for name in header)
    lines = [header, ruler, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
