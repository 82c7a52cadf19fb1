"""Rule `published_function_vectors`: the authors' function-vector sweeps, read back from their pages."""

from offcourse.jobs.log import logged
from offcourse.jobs.published_convert import convert
from offcourse.jobs.published_rules import NAME
from offcourse.layout import Layout

with logged(snakemake.log[0]):
    convert("function_vectors", Layout(NAME), snakemake.rule, snakemake.threads)
