"""Rule `figure_apathy`: Figure 8."""

from offcourse.figures.apathy import draw
from offcourse.run.script import script

with script(snakemake) as run:
    for questions in run.study.lens_questions:
        draw(run.results, run.models, questions, run.results / "figures" / "figure8" / questions)
