"""Rule `figure_{method}`: accuracy of a steering method by layer, of one model."""

from offcourse.figures.steering import draw
from offcourse.graph.products import DRAWINGS
from offcourse.run.script import script

with script(snakemake) as job:
    [(method, label)] = DRAWINGS[job.rule].labels.items()
    draw(job.results, method, label, job.model, job.tasks, job.stem)
