"""Rule `figure_choices`: Figures 13 to 15."""

from offcourse.jobs.log import logged
from offcourse.layout import Layout
from offcourse.present.figure_choices import draw
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    results = Layout(study.study).results
    models, tasks = study.models_of("function_vectors"), study.tasks_of("function_vectors")
    for figure, what in (("figure13", "n_heads"), ("figure14", "strength"), ("figure15", "layer")):
        draw(results, models, tasks, what, results / "figures" / figure)
