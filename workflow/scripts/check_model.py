"""Rule `check_model`: the model's facts and self-checks."""

from offcourse.graph.keys import checked_by
from offcourse.methods.check_model import write_facts
from offcourse.run.job import Job
from offcourse.run.script import script

with script(snakemake) as job:
    loaded = Job(checked_by(job.study, job.model), job.study, job.registry, job.layout, job.model, job.threads)
    write_facts(loaded, job.output[0])
