"""Rule `tables_dola`: Tables 1, 2 and 4 to 10."""

from pathlib import Path

from offcourse.jobs.log import logged
from offcourse.layout import Layout
from offcourse.present.tables_dola import write
from offcourse.registry import Registry
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    registry = Registry.load()
    sets = [(name, registry.question_set(name).form) for name in study.dola_questions]
    protocol = study.protocol
    write(
        Layout(study.study).results,
        study.models_of("dola"),
        sets,
        protocol.dola_mask == "removed",
        protocol.ties == "shared",
        Path(snakemake.output[0]).parent,
        exact=protocol.score_dtype == "float64",
        selected=protocol.selection,
    )
