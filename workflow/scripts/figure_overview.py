"""Rule `figure_overview`: Figure 1."""

from offcourse.jobs.script import script
from offcourse.present.figure_overview import Row, draw

with script(snakemake) as job:
    study = job.study
    on = {"logit_lens": study.lens_questions}
    on |= {name: study.tasks_of(name) for name in ("function_vectors", "task_vectors")}
    draw(job.results, {name: Row(study.models_of(name), on[name]) for name in on if name in study.methods}, job.stem)
