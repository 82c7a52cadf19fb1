"""Rule `published_sweep_page`: one page of the released sweep (Figures 4 and 17)."""

from offcourse.graph.release_rules import NAME
from offcourse.layout import Layout
from offcourse.published.pages import make_sweep_page
from offcourse.run.declared import place_of
from offcourse.run.log import logged

with logged(snakemake.log[0]):
    page = snakemake.wildcards.page
    _, base = place_of(snakemake.output.record, {Layout(NAME).rule_record("published_sweep_page", page): page})
    make_sweep_page(list(snakemake.input), page, Layout(NAME, base))
