"""Rule `report`: the reader's report."""

from offcourse.jobs.audit import Audit
from offcourse.jobs.drawings import pages
from offcourse.jobs.script import script
from offcourse.present import contents, report

with script(snakemake) as job:
    figures, tables = pages(job.study, job.registry), contents.tables(job.study.methods)
    # Weights were hashed when their model was checked.
    audit = Audit(job.study, job.registry, job.layout, weights=False)
    shown = dict.fromkeys([*(table["id"] for table in tables), *(page["figure"] for page in figures)])
    shown |= {"steering": None} if (job.results / "tables/steering.parquet").exists() else {}
    report.write(
        job.results,
        job.study.model_dump(mode="json", exclude={"resources"}),
        figures,
        tables,
        job.study.models,
        job.output[0],
        audits={name: audit.summary(name) for name in shown},
        made=[record["made"] for record in audit.records.values()],
    )
