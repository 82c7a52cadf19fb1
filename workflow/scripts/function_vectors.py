"""Rule `function_vectors`: one model, every task of the study."""

from offcourse.run.script import script

with script(snakemake) as job:
    job.run("function_vectors")
