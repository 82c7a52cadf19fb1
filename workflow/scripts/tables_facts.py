"""Rule `tables_facts`: Tables 11 and 12, the facts of the study's models."""

from offcourse.run.script import script
from offcourse.tables.facts import write

with script(snakemake) as job:
    write(job.results, job.models, job.output[0].parent)
