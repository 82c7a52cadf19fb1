"""Rules of computing steps: one model, every task or question set of the study; the rule's own steps in one job."""

from offcourse.graph.steps import STEPS
from offcourse.run.script import script

with script(snakemake) as job:
    job.run(*(name for name, step in STEPS.items() if step.rule == job.rule))
