"""Rule `published_dola`: the authors' scores of answers under DoLa."""

from offcourse.jobs.log import logged
from offcourse.jobs.published_convert import convert
from offcourse.jobs.published_rules import NAME
from offcourse.layout import Layout

with logged(snakemake.log[0]):
    convert("dola", Layout(NAME), snakemake.rule, snakemake.threads)
