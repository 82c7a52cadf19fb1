"""Step `prompts`: every prompt of a task as text and token ids, so that later steps need no tokenizer."""

import pandas as pd

from offcourse.data.names import RESOURCES
from offcourse.data.prompts import build_prompts
from offcourse.data.rows import Task
from offcourse.data.task_vector_prompts import build_task_vector_prompts
from offcourse.data.tasks import load_pairs, require_enough
from offcourse.errors import OffcourseError


def compute(context, task: Task) -> pd.DataFrame:
    """Prompts under `PROMPTS` (paper section 4.1), of every method of the study."""
    tokenizer, parts = context.tokenizer, []
    for method in context.study.task_methods:
        if task.name not in context.study.tasks_of(method):
            continue
        pairs = load_pairs(task, context.study.data, RESOURCES, context.layout.downloads, method)
        settings = {"task": task.name, **context.parameters}
        settings |= {key.removeprefix(f"{method}."): value for key, value in context.parameters.items()}
        if method == "function_vectors":
            require_enough(task, pairs, settings["shots"])
            parts.append(build_prompts(pairs, settings, tokenizer.encode, tokenizer.adds_bos))
        else:
            match = task.task_vector_match
            parts.append(build_task_vector_prompts(pairs, settings, match, tokenizer.encode, tokenizer.encode_bare))
    prompts = pd.concat(parts, ignore_index=True)
    unknown = prompts[prompts["target_id"] == tokenizer.unknown]
    if len(unknown):
        words = ", ".join(sorted({target.strip() for target in unknown["target"]})[:5])
        raise OffcourseError(
            f"{context.model}: the tokenizer has no token for the answers of task {task.name} ({words}). Leave the "
            "task out for this model, or correct the word list."
        )
    return prompts
