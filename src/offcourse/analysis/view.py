"""A results folder, and what there is in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from offcourse.data.registry import Registry
from offcourse.study.protocol import Protocol

VECTORS = ("function_vectors", "task_vectors")


@dataclass(frozen=True)
class ResultsView:
    """Results of one kind and what there is of them.

    scopes: (models, tasks or question sets) by method, with apathy apart from the logit lens. controls: of a study.
    """

    results: Path
    scopes: Mapping[str, tuple[list[str], list[str]]]
    registry: Registry
    protocol: Protocol
    controls: Sequence[str] = ()
