"""Rule `certainty`: how sure the best of each grid is."""

from offcourse.run.script import script
from offcourse.steering import steering
from offcourse.tables.certainty import write

with script(snakemake) as run:
    study, protocol = run.study, run.study.protocol
    vectors, tasks, dola = (
        method if method in study.methods else None for method in ("function_vectors", "task_vectors", "dola")
    )
    sets = [(name, run.registry.question_set(name).form) for name in study.dola_questions]
    write(
        run.output[0].parent,
        run.results,
        (study.models_of(vectors), study.tasks_of(vectors)) if vectors else None,
        (study.models_of(tasks), study.tasks_of(tasks)) if tasks else None,
        (study.models_of(dola), sets) if dola else None,
        {name: getattr(protocol, name) for name in ("dola_mask", "ties", "score_dtype")},
        controls=bool(study.function_vectors.controls),
        methods={
            name: (steering(name).label, study.models_of(name), study.tasks_of(name)) for name in study.steering_methods
        },
    )
