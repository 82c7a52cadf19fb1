"""Rule `figure_shots`: Figure 11."""

from pathlib import Path

from offcourse.jobs.log import logged
from offcourse.layout import Layout
from offcourse.present.figure_shots import draw
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    draw(Layout(study.study).results, study.models, study.tasks, Path(snakemake.output[0]).with_suffix(""))
