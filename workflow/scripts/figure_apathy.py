"""Rule `figure_apathy`: Figure 8."""

from offcourse.jobs.log import logged
from offcourse.layout import Layout
from offcourse.present.figure_apathy import draw
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    results, models = Layout(study.study).results, study.models_of("logit_lens")
    for questions in study.lens_questions:
        draw(results, models, questions, results / "figures" / "figure8" / questions)
