"""Rule `published_task_vectors`: the authors' task-vector accuracies."""

from offcourse.graph.release_rules import NAME
from offcourse.layout import Layout
from offcourse.published.convert import convert
from offcourse.run.log import logged

with logged(snakemake.log[0]):
    convert("task_vectors", Layout(NAME), snakemake.rule, snakemake.threads)
