"""A results folder, and what there is in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from offcourse.data.registry import Registry
from offcourse.study.protocol import Protocol

VECTORS = ("function_vectors", "task_vectors")


@dataclass(frozen=True)
class ResultsView:
    """One results folder (a study's or the authors' release) and the models, tasks and protocol that it covers.

    scopes: {method: (models, units)}; a unit is a task or a question set. Apathy has an entry of its own.
    controls: the study's controls of function vectors; the release has none.
    """

    results: Path
    scopes: Mapping[str, tuple[list[str], list[str]]]
    registry: Registry
    protocol: Protocol
    controls: Sequence[str] = ()
