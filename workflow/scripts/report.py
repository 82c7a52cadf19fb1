"""Rule `report`: the reader's report."""

from offcourse.analysis.comparison import comparison
from offcourse.audit.audit import Audit
from offcourse.graph import catalogue
from offcourse.graph.products import PRODUCTS, pages, products_of, results_of
from offcourse.graph.release_rules import NAME
from offcourse.layout import Layout
from offcourse.report import page as report
from offcourse.run.script import script

with script(snakemake) as job:
    figures, tables = pages(job.study, job.registry), catalogue.tables(job.study.methods)
    # Weights were hashed when their model was checked.
    audit = Audit(job.study, job.registry, job.layout, weights=False)
    shown = dict.fromkeys([*(table["id"] for table in tables), *(page["figure"] for page in figures)])
    judged = ("steering", "certainty", "sensitivity")
    shown |= {name: None for name in judged if name in products_of(job.study, job.registry)}
    released = Layout(NAME, job.layout.base).results
    report.write(
        PRODUCTS["report"].view(results_of(job.study, job.registry, job.layout)),
        job.study.model_dump(mode="json", exclude={"resources"}),
        figures,
        tables,
        job.study.models,
        job.output[0],
        audits={name: audit.summary(name) for name in shown},
        comparison=comparison(released, job.results) if snakemake.input.released else None,
        released=released if snakemake.input.released else None,
        made=[record["made"] for record in audit.records.values()],
    )
