"""Rule `readings`: logit lens and apathy of one model, every question set of the study."""

from offcourse.run.script import script

with script(snakemake) as run:
    run.compute("logit_lens", "apathy")
