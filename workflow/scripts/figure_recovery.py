"""Rule `figure_recovery`: Figures 3 and 12."""

from offcourse.figures.recovery import draw
from offcourse.run.script import script

with script(snakemake) as run:
    study, groups = run.study, {name: run.registry.task(name).group for name in run.tasks}
    methods = [name for name in ("function_vectors", "task_vectors") if name in study.methods]
    scopes = {name: (study.models_of(name), study.tasks_of(name)) for name in methods}
    draw(run.results, scopes, groups, study.protocol.model_dump(), run.stem, study.function_vectors.controls)
