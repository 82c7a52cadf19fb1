"""Rule `sensitivity`: what each protocol switch moves."""

from offcourse.analysis.results import read_model
from offcourse.jobs.script import script
from offcourse.present.table_sensitivity import Results, write

with script(snakemake) as job:
    study = job.study
    scopes = {
        method: (study.models_of(method), study.tasks_of(method)) if method in study.methods else ((), ())
        for method in ("function_vectors", "task_vectors")
    }
    asked = [(name, job.registry.question_set(name).form) for name in study.dola_questions]
    results = Results(
        job.results,
        **scopes,
        groups={name: job.registry.task(name).group for name in study.tasks},
        dola=(study.models_of("dola"), asked) if "dola" in study.methods else ((), ()),
    )
    adds_bos = {name: read_model(job.results, name)["adds_bos"] for name in job.models}
    write(results, study.protocol, adds_bos, job.output[0].parent)
