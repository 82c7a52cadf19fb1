"""Rule `report`: the reader's report."""

from pathlib import Path

from offcourse.jobs.log import logged
from offcourse.layout import Layout
from offcourse.present import contents, report
from offcourse.registry import Registry
from offcourse.study.config import load_study

with logged(snakemake.log[0]):
    study = load_study(snakemake.config)
    report.write(
        Layout(study.study).results,
        study.model_dump(mode="json", exclude={"resources"}),
        contents.figures(
            study.models_of("function_vectors"),
            study.tasks_of("function_vectors"),
            study.methods,
            study.lens_questions,
            Registry.load().post_training(study.models_of("task_vectors")),
            study.models_of("task_vectors"),
        ),
        contents.tables(study.methods),
        study.models,
        Path(snakemake.output[0]),
    )
