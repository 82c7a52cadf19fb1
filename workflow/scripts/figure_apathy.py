"""Rule `figure_apathy`: Figure 8."""

from offcourse.figures.apathy import draw
from offcourse.run.script import script

with script(snakemake) as job:
    for questions in job.study.lens_questions:
        draw(job.results, job.models, questions, job.results / "figures" / "figure8" / questions)
