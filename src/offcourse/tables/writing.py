"""Writing a table: the cells, one per row, as parquet, and the printed table as csv, md and tex."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Environment
from pandera.pandas import DataFrameSchema

from offcourse.files import write_whole
from offcourse.schemas.io import write_parquet
from offcourse.schemas.results import CELLS

SUFFIXES = ("parquet", "csv", "md", "tex")
MARKDOWN = Environment(autoescape=False, trim_blocks=True).from_string("""\
{{ title }}. {{ caption }}

{% if frame.columns | length %}
| {{ frame.index.name }} | {{ frame.columns | join(" | ") }} |
|---|{{ "---:|" * frame.columns | length }}
{% for row in frame.itertuples() %}
| {{ row | join(" | ") }} |
{% endfor %}

{% endif %}
{% for note in notes %}
- {{ note }}
{% endfor %}
""")

# A printed number, perhaps with a sign, and with an interval or a second number in brackets.
_NUMBER = re.compile(r"[+-]?[\d.,]+(e[+-]?\d+)?\s?%?(\s?[\[(][\d.,\s%e+–-]*[\])])?")
# Text that a spreadsheet takes for a formula when it opens a csv, and text that Markdown takes for markup.
_FORMULA = re.compile(r"[=+\-@\t\n].", re.DOTALL)
_MARKUP = re.compile(r"[\\|<>*`]|(?<=\])\(")


# Fewer items than this support two decimals of a share: one item more or less is a hundredth or more.
FEW = 100


def digits(items: int, most: int) -> int:
    """Decimals that a share of so many items is written with; `most` where there are enough of them."""
    return min(2, most) if items < FEW else most


def csv_cell(text: str) -> str:
    """The text, with an apostrophe in front if a spreadsheet would run it as a formula; `read_csv` removes it again.

    Spreadsheets show a cell that begins with an apostrophe as text. Numbers and a single sign stay unchanged. A
    carriage return, which would begin a new row, becomes a newline, which csv quotes.
    """
    text = re.sub(r"\r\n?", "\n", text)
    return f"'{text}" if _FORMULA.match(text.lstrip("'")) and not _NUMBER.fullmatch(text) else text


def _without_apostrophe(text: str) -> str:
    return text[1:] if text.startswith("'") and csv_cell(text[1:]) == text else text


def markdown_cell(text: str) -> str:
    """The text on one line, with a backslash before characters that would end the cell or be markup."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.splitlines()))


def _each(form: pd.DataFrame, cell: Callable[[str], str]) -> pd.DataFrame:
    """A printed table with `cell` applied to every text: cells, names of rows and columns, and the corner."""

    def changed(value):
        return cell(value) if isinstance(value, str) else value

    named = form.rename(index=changed, columns=changed).rename_axis(index=changed(form.index.name))
    return named.map(changed)


def write_csv(path: Path, form: pd.DataFrame) -> None:
    """Write a printed table as csv that no spreadsheet runs, see `csv_cell`."""
    write_whole(path, lambda temporary: _each(form, csv_cell).to_csv(temporary, encoding="utf-8"))


def write_rows(path: Path, frame: pd.DataFrame, **more) -> None:
    """Write a table of numbers and text as csv that no spreadsheet runs, without its index. more: of `to_csv`."""

    def safe(value):
        return csv_cell(value) if isinstance(value, str) else value

    changed = frame.rename(columns=safe)
    # Numbers are left alone: `map` would turn a column that lacks some into objects, which are printed otherwise.
    texts = [column for column in changed if not pd.api.types.is_numeric_dtype(changed[column])]
    changed = changed.assign(**{column: changed[column].map(safe) for column in texts})
    write_whole(path, lambda temporary: changed.to_csv(temporary, index=False, encoding="utf-8", **more))


def read_csv(path: Path) -> pd.DataFrame:
    """The printed table that `write_csv` wrote, all text; the first column holds the names of rows."""
    return _each(pd.read_csv(path, dtype=str, keep_default_na=False), _without_apostrophe)


def write_plain(
    out: Path,
    name: str,
    title: str,
    caption: str,
    frame: pd.DataFrame,
    schema: DataFrameSchema,
    form: pd.DataFrame,
    notes: Sequence[str] = (),
) -> None:
    """Write a table that the paper does not have: `frame` (of `schema`) as parquet, `form` (text) as csv and md."""
    out = Path(out)
    markdown = MARKDOWN.render(frame=_each(form, markdown_cell), title=title, caption=caption, notes=notes)
    write_parquet(out / f"{name}.parquet", frame, schema)
    write_csv(out / f"{name}.csv", form)
    write_whole(out / f"{name}.md", lambda path: path.write_text(markdown, encoding="utf-8"))


def write(
    out: Path,
    number: int | str,
    caption: str,
    cells: pd.DataFrame,
    form: pd.DataFrame,
    notes: Sequence[str],
    title: str = "",
    schema: DataFrameSchema = CELLS,
) -> None:
    """Write `table{number}` into `out`: `cells` (of `schema`) as parquet, `form` (text) as csv, md and tex.

    The `.md` ends with the notes, one per line. title: for a table that is not the paper's, whose `number` is a name.
    """
    name, out = f"table{number}", Path(out)
    markdown = MARKDOWN.render(
        frame=_each(form, markdown_cell), title=title or f"Table {number}", caption=caption, notes=notes
    )
    aligned = "l" + "r" * len(form.columns)
    tex = form.reset_index().to_latex(
        index=False, escape=True, column_format=aligned, caption=caption, label=f"tab:{name}"
    )
    write_parquet(out / f"{name}.parquet", cells, schema)
    write_csv(out / f"{name}.csv", form)
    write_whole(out / f"{name}.md", lambda path: path.write_text(markdown, encoding="utf-8"))
    write_whole(out / f"{name}.tex", lambda path: path.write_text(tex, encoding="utf-8"))
