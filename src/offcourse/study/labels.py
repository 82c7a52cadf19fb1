"""Names of tasks as readers see them in tables and figures."""


def task_label(task: str) -> str:
    """`english-french` as `English → French`, `antonym` as `Antonym`, the group `to-english` as `To English`."""
    if task in ("to-english", "from-english"):
        return task.replace("-", " ").title()
    return " → ".join(part if part[:1].isupper() else part.capitalize() for part in task.split("-"))
