"""Rule `tables_dola`: Tables 1, 2 and 4 to 10."""

from offcourse.run.script import script
from offcourse.tables.dola import write

with script(snakemake) as job:
    protocol = job.study.protocol
    sets = [(name, job.registry.question_set(name).form) for name in job.study.dola_questions]
    write(
        job.results,
        job.models,
        sets,
        protocol.dola_mask == "removed",
        protocol.ties == "shared",
        job.output[0].parent,
        exact=protocol.score_dtype == "float64",
        selected=protocol.selection,
    )
