"""Rule `figure_post_training`: Figure 16."""

from offcourse.jobs.script import script
from offcourse.present.figure_post_training import draw

with script(snakemake) as job:
    study, registry = job.study, job.registry
    pairs, groups = registry.post_training(study.models), {name: registry.task(name).group for name in study.tasks}
    draw(job.results, pairs, study.tasks, groups, study.protocol.tv_direction, job.stem)
