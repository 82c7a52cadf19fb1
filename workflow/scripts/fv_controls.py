"""Rule `fv_controls`: one model, every task of the study."""

from offcourse.jobs.script import script

with script(snakemake) as job:
    job.run("fv_controls")
