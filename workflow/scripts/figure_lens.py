"""Rule `figure_lens`: Figures 2, 6 and 7."""

from offcourse.jobs.script import script
from offcourse.present.figure_lens import draw

with script(snakemake) as job:
    for questions in job.study.lens_questions:
        draw(job.results, job.models, questions, job.results / "figures" / "figure2" / questions)
