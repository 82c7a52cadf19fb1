"""Rule `figure_choices`: Figures 13 to 15."""

from offcourse.jobs.script import script
from offcourse.present.figure_choices import FIGURES, draw

with script(snakemake) as job:
    for figure, what in FIGURES.items():
        draw(job.results, job.models, job.tasks, what, job.results / "figures" / figure)
