"""Rule `published_sweep_page`: one page of the released sweep (Figures 4 and 17)."""

from offcourse.jobs.log import logged
from offcourse.jobs.published_pages import draw_sweep_page
from offcourse.jobs.published_rules import NAME
from offcourse.layout import Layout

with logged(snakemake.log[0]):
    draw_sweep_page(list(snakemake.input), snakemake.wildcards.page, Layout(NAME))
