"""Rule `check_model`: the model's facts and self-checks."""

from offcourse.graph.keys import checked_by
from offcourse.methods.check_model import check_model
from offcourse.run.context import StepContext
from offcourse.run.script import script

with script(snakemake) as run:
    step = checked_by(run.study, run.model)
    loaded = StepContext(step, run.study, run.registry, run.layout, run.model, run.threads, run.cards)
    check_model(loaded, run.output[0])
