"""Rule `figure_lens`: Figures 2, 6 and 7."""

from offcourse.figures.lens import draw
from offcourse.run.script import script

with script(snakemake) as run:
    for questions in run.study.lens_questions:
        draw(run.results, run.models, questions, run.results / "figures" / "figure2" / questions)
