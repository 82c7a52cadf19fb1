"""Rule `figure_cie`: Figures 9 and 10, one page per model."""

from offcourse.figures.cie import draw
from offcourse.run.script import script

with script(snakemake) as run:
    draw(run.results, run.model, run.tasks, run.stem)
