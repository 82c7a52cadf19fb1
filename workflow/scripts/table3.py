"""Rule `table3`: function-vector rows of Table 3."""

from pathlib import Path

from offcourse.jobs.log import logged
from offcourse.layout import Layout
from offcourse.present.tables import table3
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    out = Path(snakemake.output[0]).parent
    table3(Layout(study.study).results, study.models, study.tasks, study.protocol.default_heads, out)
