"""Rule `published_function_vectors`: the authors' function-vector sweeps, read back from their pages."""

from offcourse.graph.release_rules import NAME
from offcourse.layout import Layout
from offcourse.published.convert import convert
from offcourse.run.log import logged

with logged(snakemake.log[0]):
    convert("function_vectors", Layout(NAME), snakemake.rule, snakemake.threads)
