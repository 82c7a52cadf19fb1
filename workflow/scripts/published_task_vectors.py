"""Rule `published_task_vectors`: the authors' task-vector accuracies."""

from offcourse.jobs.log import logged
from offcourse.jobs.published_convert import convert
from offcourse.jobs.published_rules import NAME
from offcourse.layout import Layout

with logged(snakemake.log[0]):
    convert("task_vectors", Layout(NAME), snakemake.rule, snakemake.threads)
