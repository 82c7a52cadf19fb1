"""Rule `sensitivity`: what each protocol switch moves."""

from offcourse.analysis.results import read_model
from offcourse.claims.sensitivity import Limits
from offcourse.run.script import script
from offcourse.schemas.function_vectors import READ_POSITION
from offcourse.tables.sensitivity import Results, write

with script(snakemake) as run:
    study = run.study
    scopes = {
        method: (study.models_of(method), study.tasks_of(method)) if method in study.methods else ((), ())
        for method in ("function_vectors", "task_vectors")
    }
    asked = [(name, run.registry.question_set(name).form) for name in study.dola_questions]
    position = study.protocol.head_read_position
    read_again = "function_vectors" in study.methods and READ_POSITION in study.function_vectors.controls
    results = Results(
        run.results,
        **scopes,
        groups={name: run.registry.task(name).group for name in study.tasks},
        dola=(study.models_of("dola"), asked) if "dola" in study.methods else ((), ()),
        other_position={"as_coded": "last", "last": "as_coded"}[position] if read_again else "",
    )
    adds_bos = {name: read_model(run.results, name)["adds_bos"] for name in run.models}
    # The only class whose attention output has a bias.
    biased = any(run.registry.model(name).architecture == "GPTNeoX" for name in scopes["function_vectors"][0])
    write(results, study.protocol, adds_bos, run.output[0].parent, Limits(output_bias=biased))
