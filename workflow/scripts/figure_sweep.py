"""Rule `figure_sweep`: Figures 4 and 17, one page per task of a model."""

from pathlib import Path

from offcourse.figures.sweep import draw
from offcourse.graph.products import pages
from offcourse.run.script import script

with script(snakemake) as job:
    for page in pages(job.study, job.registry, job.model):
        if page["figure"] == "figure17":
            stem = job.results / Path(page["svg"]).with_suffix("")
            draw(job.results, page["model"], page["task"], stem, bool(job.study.function_vectors.controls))
