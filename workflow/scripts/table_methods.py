"""Rule `table_methods`: every steering method of the study beside function vectors."""

from offcourse.jobs.drawings import DRAWINGS
from offcourse.jobs.script import script
from offcourse.present.table_methods import write

with script(snakemake) as job:
    study, labels = job.study, DRAWINGS[job.rule].labels
    methods = {name: (labels[name], study.models_of(name), study.tasks_of(name)) for name in study.steering_methods}
    write(job.results, methods, study.protocol.selection, job.output[0].parent)
