"""Rule `figure_shots`: Figure 11."""

from pathlib import Path

from offcourse.jobs.log import logged
from offcourse.layout import Layout
from offcourse.present.figure_shots import draw
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    models, tasks = study.models_of("function_vectors"), study.tasks_of("function_vectors")
    draw(Layout(study.study).results, models, tasks, Path(snakemake.output[0]).with_suffix(""))
