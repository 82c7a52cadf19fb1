"""Rule `figure_task_vectors`: Figures 18 and 19 of one model."""

from offcourse.figures.task_vectors import draw
from offcourse.run.script import script

with script(snakemake) as job:
    draw(job.results, job.model, job.tasks, job.stem)
