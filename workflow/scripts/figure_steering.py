"""Rule `figure_{method}`: accuracy of a steering method by layer, of one model."""

from offcourse.jobs.drawings import DRAWINGS
from offcourse.jobs.script import script
from offcourse.present.figure_steering import draw

with script(snakemake) as job:
    [(method, label)] = DRAWINGS[job.rule].labels.items()
    draw(job.results, method, label, job.model, job.tasks, job.stem)
