"""Rule `report`: the reader's report."""

from offcourse.analysis.comparison import comparison
from offcourse.archive import packed
from offcourse.audit.audit import Audit
from offcourse.graph.product import pages
from offcourse.graph.products import PRODUCTS, products_of, tables_of
from offcourse.graph.study_files import results_of
from offcourse.report import page as report
from offcourse.run.script import script

with script(snakemake) as run:
    figures, tables = pages(run.study, run.registry), tables_of(run.study, run.registry)
    # Weights were hashed when their model was checked.
    audit = Audit(run.study, run.registry, run.layout, weights=False)
    shown = dict.fromkeys([*(table["id"] for table in tables), *(page["figure"] for page in figures)])
    judged = ("steering_summary", "certainty", "sensitivity", "off_by_one")
    shown |= {name: None for name in judged if name in products_of(run.study, run.registry)}
    released = packed.folder()
    run.tracked.extend(map(packed.whole, packed.shown()))
    report.write(
        PRODUCTS["report"].view(results_of(run.study, run.registry, run.layout)),
        run.study.model_dump(mode="json", exclude={"resources"}),
        figures,
        tables,
        run.study.models,
        run.output[0],
        audits={name: audit.summary(name) for name in shown},
        comparison=comparison(released, run.results),
        released=released,
        made=[record["made"] for record in audit.records.values()],
    )
