"""Rule `published_readings`: mean lines of the logit lens and of apathy, from the authors' drawings."""

from offcourse.jobs.log import logged
from offcourse.jobs.published_convert import convert
from offcourse.jobs.published_rules import NAME
from offcourse.layout import Layout

with logged(snakemake.log[0]):
    convert("readings", Layout(NAME), snakemake.rule, snakemake.threads)
