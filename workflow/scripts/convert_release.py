"""Rules `published_{group}`: the authors' results of one group in the schemas of a study's."""

from offcourse.graph.release_rules import NAME
from offcourse.layout import Layout
from offcourse.published.convert import convert
from offcourse.run.log import logged

with logged(snakemake.log[0]):
    group = snakemake.rule.removeprefix("published_")
    convert(group, Layout(NAME), snakemake.rule, snakemake.threads, snakemake.params.original)
