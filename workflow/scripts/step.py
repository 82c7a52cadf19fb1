"""Rules of computing steps: one model, every task or question set of the study; the rule's own steps in one run."""

from offcourse.graph.steps import STEPS
from offcourse.run.script import script

with script(snakemake) as run:
    run.compute(*(name for name, step in STEPS.items() if step.rule == run.rule))
