"""Rule `fv_controls`: one model, every task of the study."""

from offcourse.run.script import script

with script(snakemake) as run:
    run.compute("fv_controls")
