"""Rule `steering_summary`: what steers each model, at which setting, and how sure that is."""

from offcourse.graph.products import PRODUCTS
from offcourse.run.script import script
from offcourse.tables.steering_summary import write

with script(snakemake) as run:
    study = run.study
    scopes = {
        method: (study.models_of(method), study.tasks_of(method)) if method in study.methods else ((), ())
        for method in ("function_vectors", "task_vectors")
    }
    write(run.results, run.output[0].parent, **scopes, dola=PRODUCTS[run.rule].numbers_read(study))
