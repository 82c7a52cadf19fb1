"""Rule `figure_choices`: Figures 13 to 15."""

from offcourse.figures.choices import FIGURES, draw
from offcourse.run.script import script

with script(snakemake) as job:
    for figure, what in FIGURES.items():
        draw(job.results, job.models, job.tasks, what, job.results / "figures" / figure)
