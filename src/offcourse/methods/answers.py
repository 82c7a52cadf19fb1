"""When the token that a model predicts counts as the answer of a task (Hendel et al. 2023)."""

from offcourse.data.rows import Task


def is_right(task: Task, predicted: str, expected: str) -> bool:
    """Whether the predicted token, as text, counts as the answer `expected`.

    Both texts are cut at the first newline and stripped. The task's `match` decides. prefix: one text begins the other
    and is not empty, so "P" counts for Paris. exact and synonym: the texts are equal (`task_vectors.synonyms` in
    config.yaml).
    """
    predicted, expected = (text.split("\n")[0].strip() for text in (predicted, expected))
    if task.task_vector_match == "prefix":
        return bool(predicted) and bool(expected) and (predicted.startswith(expected) or expected.startswith(predicted))
    return predicted == expected
