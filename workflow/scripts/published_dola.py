"""Rule `published_dola`: the authors' scores of answers under DoLa."""

from offcourse.graph.release_rules import NAME
from offcourse.layout import Layout
from offcourse.published.convert import convert
from offcourse.run.log import logged

with logged(snakemake.log[0]):
    convert("dola", Layout(NAME), snakemake.rule, snakemake.threads)
