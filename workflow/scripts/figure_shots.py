"""Rule `figure_shots`: Figure 11."""

from offcourse.jobs.script import script
from offcourse.present.figure_shots import draw

with script(snakemake) as job:
    draw(job.results, job.models, job.tasks, job.stem)
