"""Rule `dola`: one model, every question set of the study."""

from offcourse.run.script import script

with script(snakemake) as run:
    run.compute("dola")
