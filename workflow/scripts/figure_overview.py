"""Rule `figure_overview`: Figure 1."""

from offcourse.figures.overview import Row, draw
from offcourse.run.script import script

with script(snakemake) as run:
    study = run.study
    on = {"logit_lens": study.lens_questions}
    on |= {name: study.tasks_of(name) for name in ("function_vectors", "task_vectors")}
    draw(run.results, {name: Row(study.models_of(name), on[name]) for name in on if name in study.methods}, run.stem)
