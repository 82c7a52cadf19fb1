"""Rule `figure_task_vectors`: Figures 18 and 19 of one model."""

from offcourse.figures.task_vectors import draw
from offcourse.run.script import script

with script(snakemake) as run:
    draw(run.results, run.model, run.tasks, run.stem)
