"""Rule `figure_apathy`: Figure 8."""

from offcourse.jobs.script import script
from offcourse.present.figure_apathy import draw

with script(snakemake) as job:
    for questions in job.study.lens_questions:
        draw(job.results, job.models, questions, job.results / "figures" / "figure8" / questions)
