"""Names of models, tasks and question sets as readers see them; csv files and commands have the registry's names."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from offcourse.data.registry import Registry


def task_label(task: str) -> str:
    """`english-french` as `English → French`, `antonym` as `Antonym`, the group `to-english` as `To English`."""
    if task in ("to-english", "from-english"):
        return task.replace("-", " ").title()
    return " → ".join(part if part[:1].isupper() else part.capitalize() for part in task.split("-"))


def told_apart(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels by name; models of one label, such as checkpoints, get their names in brackets."""
    counts = list(labels.values())
    return {name: f"{label} ({name})" if counts.count(label) > 1 else label for name, label in labels.items()}


@dataclass(frozen=True)
class Labels:
    """Labels by the registry's names. A name without a label is shown as it is."""

    models: Mapping[str, str]
    tasks: Iterable[str] = ()
    questions: Mapping[str, str] = field(default_factory=dict)

    def model(self, name: str) -> str:
        """A model's label."""
        return self.models.get(name) or name

    def unit(self, name: str) -> str:
        """The label of a task or a question set."""
        return task_label(name) if name in self.tasks else self.questions.get(name) or name

    def row(self, text: str) -> str:
        """The label of a table's row, which is a model, or a model with a question set in brackets, or neither."""
        both = re.fullmatch(r"(?P<model>\S+) \((?P<unit>\S+)\)", text)
        if both and both["model"] in self.models:
            return f"{self.model(both['model'])} ({self.unit(both['unit'])})"
        return self.model(text)


def labels_of(registry: "Registry") -> Labels:
    """The labels of everything in the registry."""
    models = told_apart({name: row.label for name, row in registry.models.items()})
    return Labels(models, registry.tasks, {name: row.label for name, row in registry.questions.items()})
