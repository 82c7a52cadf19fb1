"""Rule `table_methods`: every steering method of the study beside function vectors."""

from offcourse.graph.products import PRODUCTS
from offcourse.run.script import script
from offcourse.tables.methods import write

with script(snakemake) as run:
    study, labels = run.study, PRODUCTS[run.rule].labels
    methods = {name: (labels[name], study.models_of(name), study.tasks_of(name)) for name in study.steering_methods}
    write(run.results, methods, study.protocol.selection, run.output[0].parent)
