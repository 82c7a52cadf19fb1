"""Rule `figure_cie`: Figures 9 and 10, one page per model."""

from offcourse.jobs.script import script
from offcourse.present.figure_cie import draw

with script(snakemake) as job:
    draw(job.results, job.model, job.tasks, job.stem)
