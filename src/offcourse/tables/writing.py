"""Writing a table: long cells as parquet, and its printed form as csv, md and tex."""

from collections.abc import Sequence
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
    """Write a table that the paper does not have: `frame` under `schema` as parquet, `form` (text) as csv and md."""
    out = Path(out)
    markdown = MARKDOWN.render(frame=form, title=title, caption=caption, notes=notes)
    write_parquet(out / f"{name}.parquet", frame, schema)
    write_whole(out / f"{name}.csv", lambda path: form.to_csv(path, encoding="utf-8"))
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
    """Write `table{number}` into `out`: `cells` (under `schema`) as parquet, `form` (text) as csv, md and tex.

    title: of a table that is none of the paper's, whose number is a name.

    The `.md` ends with the notes, one per line.
    """
    name, out = f"table{number}", Path(out)
    markdown = MARKDOWN.render(frame=form, title=title or f"Table {number}", caption=caption, notes=notes)
    aligned = "l" + "r" * len(form.columns)
    tex = form.reset_index().to_latex(
        index=False, escape=True, column_format=aligned, caption=caption, label=f"tab:{name}"
    )
    write_parquet(out / f"{name}.parquet", cells, schema)
    write_whole(out / f"{name}.csv", lambda path: form.to_csv(path, encoding="utf-8"))
    write_whole(out / f"{name}.md", lambda path: path.write_text(markdown, encoding="utf-8"))
    write_whole(out / f"{name}.tex", lambda path: path.write_text(tex, encoding="utf-8"))
