"""Rule `figure_choices`: Figures 13 to 15."""

from offcourse.figures.choices import FIGURES, draw
from offcourse.run.script import script

with script(snakemake) as run:
    for figure, what in FIGURES.items():
        draw(run.results, run.models, run.tasks, what, run.results / "figures" / figure)
