"""Rule `figure_sweep`: Figures 4 and 17, one page per task of a model."""

from pathlib import Path

from offcourse.jobs.log import logged
from offcourse.layout import Layout
from offcourse.present import contents
from offcourse.present.figure_sweep import draw
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    results = Layout(study.study).results
    for page in contents.figures([snakemake.wildcards.model], study.tasks_of("function_vectors")):
        if page["figure"] == "figure17":
            draw(results, page["model"], page["task"], results / Path(page["svg"]).with_suffix(""))
