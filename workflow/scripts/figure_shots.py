"""Rule `figure_shots`: Figure 11."""

from offcourse.figures.shots import draw
from offcourse.run.script import script

with script(snakemake) as run:
    draw(run.results, run.models, run.tasks, run.stem)
