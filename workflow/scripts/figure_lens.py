"""Rule `figure_lens`: Figures 2, 6 and 7."""

from offcourse.figures.lens import draw
from offcourse.run.script import script

with script(snakemake) as job:
    for questions in job.study.lens_questions:
        draw(job.results, job.models, questions, job.results / "figures" / "figure2" / questions)
