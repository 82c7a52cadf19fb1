"""The numbers that the paper prints in Tables 1 to 10, for comparison with a study's numbers cell by cell.

`resources/paper/table{N}.tsv` has a row per printed number. `row` and `column` are the keys of the study's
`tables/table{N}.parquet`, so both files can be joined on them. `printed_row` and `printed_column` are the paper's
labels; a metric that heads a block of rows or columns is written in front of the label. The paper quotes the row
`llama-7b*` from Chuang et al. (2024). A bucket of premature layers takes two cells (the lower and the upper bound, in
percent of depth). Tables 6 and 7 repeat the bucket and the best alpha for every metric; the files give them once.
"""

from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from offcourse.data.names import RESOURCES
from offcourse.data.tsv import FILLED, read_checked, text_column
from offcourse.errors import OffcourseError

NUMBERS = tuple(range(1, 11))
_PRINTED = pa.Check.str_matches(r"^\d+(\.\d+)?%?$", error="a number as it is printed, such as 0.3182 or 47%")
TYPED = pa.DataFrameSchema(
    {
        "row": FILLED,
        "column": FILLED,
        "printed_row": FILLED,
        "printed_column": FILLED,
        "printed": text_column(_PRINTED),
    },
    strict=True,
    ordered=True,
    unique=["row", "column"],
)


def read_printed(number: int, resources: Path = RESOURCES) -> pd.DataFrame:
    """The cells of one of Tables 1 to 10: `row`, `column`, `printed_row`, `printed_column`, `printed`, `value`, `half`.

    `printed` is the text. `value` is its number in the study's unit (a percentage is 47, not 0.47). `half` is half a
    unit of the last printed decimal: before rounding, the number was within `value` +- `half`.

    Raises `OffcourseError` for another number, and for a file that is not such a table.
    """
    if number not in NUMBERS:
        raise OffcourseError(
            f"there is no printed table {number} of results; Tables 1 to 10 have results, 11 and 12 facts of models."
        )
    path = Path(resources) / "paper" / f"table{number}.tsv"
    typed = read_checked(path, TYPED)
    text = typed["printed"].str.removesuffix("%")
    decimals = text.str.partition(".")[2].str.len()
    return typed.assign(value=text.astype(float), half=0.5 * 10.0**-decimals)
