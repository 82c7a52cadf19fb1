"""Rule `published_table3`: see `offcourse.jobs.published_pages`."""

from offcourse.jobs.log import logged
from offcourse.jobs.published_pages import make
from offcourse.jobs.published_rules import NAME
from offcourse.layout import Layout

with logged(snakemake.log[0]):
    make(snakemake.rule, list(snakemake.input), Layout(NAME))
