"""Rows of models.tsv by the study that they are for."""

from offcourse.data.names import RESOURCES
from offcourse.data.registry import Registry
from offcourse.data.rows import Model
from offcourse.study.config import Study, read_study

MODERN: Study = read_study(RESOURCES.parent / "studies" / "modern.yaml")


def of_the_paper(registry: Registry) -> list[Model]:
    """The paper's models with their checkpoints: all of the hub but those of studies/modern.yaml."""
    return [row for row in registry.models.values() if row.source == "hub" and row.name not in MODERN.models]
