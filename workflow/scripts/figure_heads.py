"""Rule `figure_heads`: Figure 5."""

from offcourse.figures.heads import draw
from offcourse.run.script import script

with script(snakemake) as job:
    pairs, groups = job.registry.post_training(job.models), {name: job.registry.task(name).group for name in job.tasks}
    draw(job.results, job.models, job.tasks, groups, pairs, job.stem)
