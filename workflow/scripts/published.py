"""Rules of tables, figures and report of the authors' release, see `offcourse.published.pages`."""

from offcourse.graph.release_rules import NAME
from offcourse.layout import Layout
from offcourse.published.pages import make
from offcourse.run.log import logged

with logged(snakemake.log[0]):
    make(snakemake.rule, list(snakemake.input), Layout(NAME), snakemake.threads)
