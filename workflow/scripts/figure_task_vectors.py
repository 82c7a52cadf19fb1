"""Rule `figure_task_vectors`: Figures 18 and 19 of one model."""

from pathlib import Path

from offcourse.jobs.log import logged
from offcourse.layout import Layout
from offcourse.present.figure_task_vectors import draw
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    stem = Path(snakemake.output[0]).with_suffix("")
    tasks = study.tasks_of("task_vectors")
    draw(Layout(study.study).results, snakemake.wildcards.model, tasks, stem)
