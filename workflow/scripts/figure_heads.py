"""Rule `figure_heads`: Figure 5."""

from offcourse.figures.heads import draw
from offcourse.run.script import script

with script(snakemake) as run:
    pairs, groups = run.registry.post_training(run.models), {name: run.registry.task(name).group for name in run.tasks}
    draw(run.results, run.models, run.tasks, groups, pairs, run.stem)
