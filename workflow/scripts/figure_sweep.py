"""Rule `figure_sweep`: Figures 4 and 17, one page per task of a model."""

from pathlib import Path

from offcourse.figures.sweep import draw
from offcourse.graph.products import pages
from offcourse.run.script import script

with script(snakemake) as run:
    for page in pages(run.study, run.registry, run.model):
        if page["figure"] == "figure17":
            stem = run.results / Path(page["svg"]).with_suffix("")
            draw(run.results, page["model"], page["task"], stem, bool(run.study.function_vectors.controls))
