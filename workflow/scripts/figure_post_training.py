"""Rule `figure_post_training`: Figure 16."""

from offcourse.figures.post_training import draw
from offcourse.run.script import script

with script(snakemake) as run:
    pairs, groups = run.registry.post_training(run.models), {name: run.registry.task(name).group for name in run.tasks}
    draw(run.results, pairs, run.tasks, groups, run.study.protocol.tv_direction, run.stem)
