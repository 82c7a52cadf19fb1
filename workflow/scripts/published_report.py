"""Rule `published_report`: the report of the authors' released results alone."""

from pathlib import Path

import pandas as pd

from offcourse.jobs.log import logged
from offcourse.present import report

with logged(snakemake.log[0]):
    out = Path(snakemake.output[0])
    compared = out.parent / "comparison.parquet"
    comparison = pd.read_parquet(compared) if compared.exists() else None
    report.write(out.parent, None, [], [], [], out, comparison=comparison, released=out.parent)
