"""Rule `published_report`: the report of the authors' released results alone."""

from pathlib import Path

import pandas as pd

from offcourse.jobs.log import logged
from offcourse.jobs.published import NAME, Release
from offcourse.jobs.published_pages import pages_of
from offcourse.layout import Layout
from offcourse.present import contents, report

with logged(snakemake.log[0]):
    out = Path(snakemake.output[0])
    comparison = pd.read_parquet(out.parent / "comparison.parquet")
    tables = contents.tables(("function_vectors", "task_vectors", "dola"))
    pages = pages_of(Release(Layout(NAME)))
    report.write(out.parent, None, pages, tables, [], out, comparison=comparison, released=out.parent)
