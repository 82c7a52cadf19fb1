"""Rule `published_sweep_page`: one page of the released sweep (Figures 4 and 17)."""

from offcourse.graph.release_rules import NAME
from offcourse.layout import Layout
from offcourse.published.pages import make_sweep_page
from offcourse.run.log import logged

with logged(snakemake.log[0]):
    make_sweep_page(list(snakemake.input), snakemake.wildcards.page, Layout(NAME))
