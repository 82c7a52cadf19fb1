"""Rule `check_model`: the model's facts and self-checks."""

from offcourse.graph.keys import checked_by
from offcourse.methods.check_model import check_model
from offcourse.run.plain_context import context_of
from offcourse.run.script import script

with script(snakemake) as run:
    loaded = context_of(checked_by(run.study, run.model), run.study, run.registry, run.layout, run.model, run.threads)
    check_model(loaded, run.output[0])
