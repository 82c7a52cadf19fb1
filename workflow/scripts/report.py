"""Rule `report`: the reader's report."""

from offcourse.jobs.drawings import pages
from offcourse.jobs.script import script
from offcourse.present import contents, report

with script(snakemake) as job:
    report.write(
        job.results,
        job.study.model_dump(mode="json", exclude={"resources"}),
        pages(job.study, job.registry),
        contents.tables(job.study.methods),
        job.study.models,
        job.output[0],
    )
