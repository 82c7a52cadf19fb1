"""Rule `figure_task_vectors`: Figures 18 and 19 of one model."""

from offcourse.jobs.script import script
from offcourse.present.figure_task_vectors import draw

with script(snakemake) as job:
    draw(job.results, job.model, job.tasks, job.stem)
