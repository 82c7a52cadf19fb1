"""Where the record of each file of a study is."""

from pathlib import Path

from offcourse.data.registry import Registry
from offcourse.graph.keys import units_of
from offcourse.graph.products import products_of
from offcourse.graph.study_files import job_outputs
from offcourse.layout import Layout
from offcourse.study.config import Study


def record_places(study: Study, registry: Registry, layout: Layout) -> dict[Path, Path]:
    """The place of the record of every result, table, figure and page that the study should have, by its file."""
    found = {
        layout.artefact(step.name, step.suffix, model, unit): layout.record(step.name, model, unit)
        for model, step, unit in units_of(study)
    }
    for product in products_of(study, registry).values():
        for model in product.instances(study):
            record = layout.rule_record(product.rule, model)
            found |= {layout.results / path: record for path in job_outputs(product, study, registry, model)}
    return found
