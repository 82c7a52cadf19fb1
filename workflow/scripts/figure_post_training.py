"""Rule `figure_post_training`: Figure 16."""

from offcourse.figures.post_training import draw
from offcourse.run.script import script

with script(snakemake) as job:
    pairs, groups = job.registry.post_training(job.models), {name: job.registry.task(name).group for name in job.tasks}
    draw(job.results, pairs, job.tasks, groups, job.study.protocol.tv_direction, job.stem)
