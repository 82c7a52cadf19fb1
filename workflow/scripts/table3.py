"""Rule `table3`: Table 3, with a row for each method of the study that it has."""

from offcourse.run.script import script
from offcourse.tables.table3 import table3

with script(snakemake) as run:
    study, protocol = run.study, run.study.protocol
    switches = {name: getattr(protocol, name) for name in ("tv_denominator", "tv_direction", "tv_score")}
    table3(
        run.results,
        study.models_of("function_vectors"),
        study.tasks_of("function_vectors"),
        protocol.default_heads,
        run.output[0].parent,
        groups={name: run.registry.task(name).group for name in study.tasks},
        tv_switches=switches if "task_vectors" in study.methods else None,
        function_vectors="function_vectors" in study.methods,
        tv_scope=(study.models_of("task_vectors"), study.tasks_of("task_vectors")),
        n_heads=study.function_vectors.n_heads,
        large_n_heads=study.function_vectors.large and study.function_vectors.large.n_heads,
        selection=protocol.selection,
    )
