"""Rule `figure_{method}`: accuracy of a steering method by layer, of one model."""

from offcourse.figures.steering import draw
from offcourse.graph.products import PRODUCTS
from offcourse.run.script import script

with script(snakemake) as run:
    [(method, label)] = PRODUCTS[run.rule].labels.items()
    draw(run.results, method, label, run.model, run.tasks, run.stem)
