"""Rule `dola`: one model, every question set of the study."""

from offcourse.jobs.script import script

with script(snakemake) as job:
    job.run("dola")
