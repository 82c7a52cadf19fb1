"""Rule `tables_facts`: Tables 11 and 12, the facts of the study's models."""

from offcourse.run.script import script
from offcourse.tables.model_facts import write

with script(snakemake) as run:
    write(run.results, run.models, run.output[0].parent)
