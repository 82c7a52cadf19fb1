"""Rule `check_model`: the model's facts and self-checks."""

from offcourse.jobs.facts import write_facts
from offcourse.jobs.run import Job
from offcourse.jobs.script import script
from offcourse.jobs.steps import checked_by

with script(snakemake) as job:
    loaded = Job(checked_by(job.study, job.model), job.study, job.registry, job.layout, job.model, job.threads)
    write_facts(loaded, job.output[0])
