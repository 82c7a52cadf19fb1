"""Rule `report`: the reader's report."""

from pathlib import Path

from offcourse.jobs.log import logged
from offcourse.layout import Layout
from offcourse.present import contents, report
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    report.write(
        Layout(study.study).results,
        study.model_dump(mode="json", exclude={"resources"}),
        contents.figures(study.models, study.tasks, study.methods, study.lens_questions),
        contents.tables(study.methods),
        study.models,
        Path(snakemake.output[0]),
    )
