"""Rule `table_methods`: every steering method of the study beside function vectors."""

from offcourse.graph.products import DRAWINGS
from offcourse.run.script import script
from offcourse.tables.methods import write

with script(snakemake) as job:
    study, labels = job.study, DRAWINGS[job.rule].labels
    methods = {name: (labels[name], study.models_of(name), study.tasks_of(name)) for name in study.steering_methods}
    write(job.results, methods, study.protocol.selection, job.output[0].parent)
