"""Rule `figure_shots`: Figure 11."""

from offcourse.figures.shots import draw
from offcourse.run.script import script

with script(snakemake) as job:
    draw(job.results, job.models, job.tasks, job.stem)
