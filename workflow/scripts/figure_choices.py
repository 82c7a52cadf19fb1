"""Rule `figure_choices`: Figures 13 to 15."""

from offcourse.jobs.script import script
from offcourse.present.figure_choices import draw

with script(snakemake) as job:
    for figure, what in (("figure13", "n_heads"), ("figure14", "strength"), ("figure15", "layer")):
        draw(job.results, job.models, job.tasks, what, job.results / "figures" / figure)
