"""The lineage of a number of a table that summarises whole results, such as certainty or sensitivity.

Such a table keeps no sources of single numbers: most are tests or resampled over a whole grid. The table is made again
as a whole, from the same results, and the number is looked up in both.
"""

import importlib
import math
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from offcourse.audit.audit import Audit
from offcourse.audit.rows import telling
from offcourse.errors import OffcourseError, did_you_mean, listed
from offcourse.graph.keys import STEPS
from offcourse.graph.product import Product
from offcourse.graph.products import products_of
from offcourse.graph.study_files import job_outputs, results_of
from offcourse.provenance.records import located
from offcourse.schemas.io import read_unchecked
from offcourse.study.labels import Labels, labels_of

# A number that is computed again may differ in its last digits, since sums are taken in another order.
TOLERANCE = 1e-9
# Columns with names of the registry, and the kind of their labels.
SHOWN = {"model": "model", "on": "unit", "task": "unit", "row": "row"}
# Columns of a row that name it, where a table has them as texts.
NAMES = ("method", "model", "label", "on", "task", "seed", "vector", "switch", "change", "table", "row", "column")


def lineage_of(
    audit: Audit, name: str, path: str, row: str, column: str | None, described: Callable[[Audit, str], dict[str, Any]]
) -> dict[str, Any]:
    """The lineage of one number as plain JSON, see `audit.lineage.lineage_of`.

    path: the table's parquet. row: texts that its row has, between commas ("function vector, antonym"). column: as in
    the parquet or as printed. described: (audit, path) -> how one artefact was made.
    Raises `OffcourseError` for a table that cannot be made again alone, and for a row or column that it does not have.
    """
    product = _product(audit, name, path)
    table = _Table(located(path, audit.layout.base), labels_of(audit.registry))
    index = table.row(name, row)
    where = {key: str(table.numbers.loc[index, key]) for key in table.names}
    chosen = table.column(name, column)
    with tempfile.TemporaryDirectory() as folder:
        module, _, function = product.target.partition(":")
        view = product.view(results_of(audit.study, audit.registry, audit.layout))
        getattr(importlib.import_module(module), function)(view, Path(folder))
        again = _Table(Path(folder) / Path(path).name, table.labels)
    value, made = table.value(index, chosen), again.value(index, chosen)
    alike = len(again.numbers) == len(table.numbers) and all(
        str(again.numbers.loc[index, key]) == text for key, text in where.items()
    )
    return {
        "name": name,
        "row": ", ".join(text for text in where.values() if text),
        "column": chosen,
        "value": plain(value),
        "unit": "",
        "n": None,
        "recomputed": plain(made) if alike else None,
        "agrees": alike and same(value, made),
        "table": path,
        "sources": [],
        "artefacts": {each: described(audit, each) for each in _results(audit, path, where)},
    }


def _product(audit: Audit, name: str, path: str) -> Product:
    if audit.study is not None:
        output = Path(path).relative_to(audit.path(audit.layout.results)).as_posix()
        for product in products_of(audit.study, audit.registry).values():
            tables = [
                each for each in job_outputs(product, audit.study, audit.registry, None) if each.startswith("tables/")
            ]
            if not product.per_model and output in tables:
                return product
    raise OffcourseError(
        f"{name} keeps no sources of single numbers. Audit it without --row and --column, which checks every file "
        "behind it."
    )


def _results(audit: Audit, path: str, where: dict[str, str]) -> list[str]:
    """The results of steps that the table was made from: those of the row's model and unit, if the row names them."""
    inputs = [each for each in audit.record_of(path)["inputs"] if Path(each).parent.name in STEPS]
    of_model = [each for each in inputs if Path(each).parents[1].name == where.get("model")]
    unit = where.get("on") or where.get("task")
    of_unit = [each for each in of_model if Path(each).stem == unit]
    return of_unit or of_model or inputs


class _Table:
    """A table's numbers (parquet) and its printed form (csv), which have the same rows."""

    def __init__(self, path: Path, labels: Labels):
        self.labels = labels
        self.numbers = read_unchecked(path).reset_index(drop=True)
        self.printed = pd.read_csv(path.with_suffix(".csv"), dtype=str, keep_default_na=False)
        named = [key for key in NAMES if key in self.numbers and not pd.api.types.is_numeric_dtype(self.numbers[key])]
        self.names = list(dict.fromkeys((*named, *telling(self.numbers, self.numbers))))

    def row(self, name: str, row: str) -> int:
        """The index of the row that has every text between the commas of `row`; a text may be COLUMN=VALUE."""
        if self.numbers.empty:
            raise OffcourseError(f"{name} has no row in this study, so no number of {name} can be audited.")
        both = self.numbers.astype(str).join(self.printed, rsuffix=" ")
        # As the report shows them.
        shown = {each: both[each].map(getattr(self.labels, kind)) for each, kind in SHOWN.items() if each in both}
        cells = both.assign(**{f"{each} shown": column for each, column in shown.items()}).map(_key)
        left = list(both.index)
        for text in self._texts(row, set(cells.to_numpy().ravel())):
            if not (kept := self._with(text, left, cells)):
                known = dict.fromkeys(str(self.numbers.loc[index, key]) for index in left for key in self.names)
                raise OffcourseError(f"{name} has no row with {text!r}: {did_you_mean(text, filter(None, known))}")
            left = kept
        if differ := telling(self.numbers.loc[left], self.numbers):
            more = (self._example(left, key, cells) for key in differ)
            example = ", ".join(filter(None, (row.strip(), *more)))
            raise OffcourseError(
                f"{len(left)} rows of {name} are like that; say also {', '.join(differ)}, as in --row {example!r}."
            )
        return left[0]

    def _texts(self, row: str, known: Collection[str]) -> Iterator[str]:
        """The texts between the commas of `row`. Of texts with commas of their own the longest counts."""
        pieces = [piece for piece in row.split(",") if piece.strip()]
        while pieces:
            joined = [",".join(pieces[:count]).strip() for count in range(len(pieces), 0, -1)]
            text = next((each for each in joined if _key(each) in known or self._chosen(each)), joined[-1])
            yield text
            pieces = pieces[len(pieces) - joined.index(text) :]

    def _chosen(self, text: str) -> list[int]:
        """The rows that COLUMN=VALUE selects; none for another text."""
        column, _, value = text.partition("=")
        chosen = self.numbers[column].astype(str) == value if column in self.numbers else []
        return [index for index, each in enumerate(chosen) if each]

    def _with(self, text: str, left: Sequence[int], cells: pd.DataFrame) -> list[int]:
        """Those among the rows `left` that a text of `--row` means."""
        chosen = self._chosen(text)
        return [index for index in left if index in chosen or _key(text) in set(cells.loc[index])]

    def _example(self, left: Sequence[int], key: str, cells: pd.DataFrame) -> str:
        """The text by which the first row is found: a name as it is where no other column has it, or COLUMN=VALUE."""
        value = str(self.numbers.loc[left[0], key])
        exact = f"{key}={value}"
        plainly = isinstance(self.numbers.loc[left[0], key], str)
        return value if plainly and self._with(value, left, cells) == self._with(exact, left, cells) else exact

    def column(self, name: str, column: str | None) -> str:
        """The column of the parquet or of the printed table that is meant."""
        known = {_key(each): each for each in (*self.printed, *self.numbers) if each not in self.names}
        if column is None:
            raise OffcourseError(f"say which number of {name}: --column is one of {listed(known.values())}.")
        if _key(column) not in known:
            raise OffcourseError(f"{name} has no column {column!r}: {did_you_mean(column, known.values())}")
        return known[_key(column)]

    def value(self, index: int, column: str) -> Any:
        """A number of the parquet, or a text of the printed table if only that has the column."""
        frame = self.numbers if column in self.numbers else self.printed
        return frame.loc[index, column] if index in frame.index else None


def _key(text: Any) -> str:
    """A text without what a printed heading has and a column's name has not."""
    return re.sub(r"[^a-z0-9.<>≤≥%]+", " ", str(text).casefold().replace("_", " ")).strip()


def same(value: float | str | None, again: float | str | None) -> bool:
    """Whether a value and its recomputed value agree: equal up to rounding, both missing, or equal texts."""
    if isinstance(value, str) or isinstance(again, str):
        return value == again
    if plain(value) is None or plain(again) is None:
        return plain(value) is plain(again)
    return math.isclose(value, again, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def plain(value: Any) -> Any:
    """A value as JSON has it: None for a missing one."""
    return None if value is None or value != value else value if isinstance(value, str) else float(value)
