"""Rule `published_cie`: causal effects of heads as shades, from the authors' drawings."""

from offcourse.graph.release_rules import NAME
from offcourse.layout import Layout
from offcourse.published.convert import convert
from offcourse.run.log import logged

with logged(snakemake.log[0]):
    convert("cie", Layout(NAME), snakemake.rule, snakemake.threads)
