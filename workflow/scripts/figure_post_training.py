"""Rule `figure_post_training`: Figure 16."""

from offcourse.jobs.script import script
from offcourse.present.figure_post_training import draw

with script(snakemake) as job:
    pairs, groups = job.registry.post_training(job.models), {name: job.registry.task(name).group for name in job.tasks}
    draw(job.results, pairs, job.tasks, groups, job.study.protocol.tv_direction, job.stem)
