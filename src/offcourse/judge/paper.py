"""The paper's own methods, as `offcourse judge` takes them: what they are called and edit, and what a study asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PaperMethod:
    """A method of the paper. label: its name in the table of verdicts, `table`. on_questions: whether its units are
    question sets, and not tasks. edits: as of a steering method.
    """

    label: str
    source: str
    table: str
    edits: Mapping[str, Any]
    on_questions: bool = False


def _edits(site: str, operation: str, positions: str) -> dict[str, Any]:
    return {"site": site, "operation": operation, "positions": positions, "together": False}


PAPER_METHODS = {
    "function_vectors": PaperMethod(
        "Function vectors", "Todd et al. 2024", "verdicts_function_vectors", _edits("residual", "add", "last")
    ),
    "task_vectors": PaperMethod(
        "Task vectors", "Hendel et al. 2023", "verdicts_task_vectors", _edits("residual", "replace", "last")
    ),
    "dola": PaperMethod(
        "DoLa", "Chuang et al. 2024", "verdicts_questions", _edits("logits", "contrast", "answer"), on_questions=True
    ),
}
# Head counts: the paper's smallest, and the one that it takes by default.
HEADS = [2, 16]


def section(name: str, tasks: Sequence[str], items: int) -> dict[str, Any]:
    """What the section of a method on tasks has, beside what it has in every study of `offcourse judge`."""
    if name == "task_vectors":
        return {"dev_items": items, "test_items": items, "baseline_items": items}
    more = ["other_task"] if len(tasks) > 1 else []
    return {"n_heads": HEADS, "controls": ["random_direction", "shuffled_labels", *more]}
