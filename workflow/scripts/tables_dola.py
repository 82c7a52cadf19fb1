"""Rule `tables_dola`: Tables 1, 2 and 4 to 10."""

from offcourse.run.script import script
from offcourse.tables.dola import write

with script(snakemake) as run:
    protocol = run.study.protocol
    sets = [(name, run.registry.question_set(name).form) for name in run.study.dola_questions]
    write(
        run.results,
        run.models,
        sets,
        protocol.dola_mask == "removed",
        protocol.ties == "shared",
        run.output[0].parent,
        exact=protocol.score_dtype == "float64",
        selected=protocol.selection,
    )
