"""Rule `steering`: what steers each model, at which setting, and how sure that is."""

from offcourse.graph.products import DRAWINGS
from offcourse.run.script import script
from offcourse.tables.steering import write

with script(snakemake) as job:
    study = job.study
    scopes = {
        method: (study.models_of(method), study.tasks_of(method)) if method in study.methods else ((), ())
        for method in ("function_vectors", "task_vectors")
    }
    write(job.results, job.output[0].parent, **scopes, dola=DRAWINGS[job.rule].numbers_read(study))
