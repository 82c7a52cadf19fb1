"""Rules of tables, figures and report of the authors' release, see `offcourse.published.pages`."""

from offcourse.graph.release_rules import NAME, PAGES
from offcourse.layout import Layout
from offcourse.published.pages import make
from offcourse.run.declared import place_of
from offcourse.run.log import logged

with logged(snakemake.log[0]):
    rule, base = place_of(snakemake.output.record, {Layout(NAME).rule_record(rule): rule for rule in PAGES})
    make(rule, list(snakemake.input), Layout(NAME, base))
