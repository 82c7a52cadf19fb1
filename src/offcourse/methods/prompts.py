"""Step `prompts`: every prompt of a task as text and token ids, so that later steps need no tokenizer."""

from functools import partial

import pandas as pd

from offcourse.data.names import RESOURCES
from offcourse.data.prompts import build_prompts
from offcourse.data.rows import Task
from offcourse.data.targets import spread
from offcourse.data.task_vector_prompts import build_task_vector_prompts
from offcourse.data.tasks import load_pairs, require_enough
from offcourse.errors import OffcourseError

# {method: kind of the prompts that hold one row per evaluated item}.
EVALUATED = {"function_vectors": "query", "task_vectors": "tv_test_query"}


def compute(context, task: Task) -> pd.DataFrame:
    """Prompts of every method of the study, a table of schema `PROMPTS` (paper section 4.1).

    `attrs["targets"]` is {method: counts of the evaluated items' targets}, see `targets.spread`. Raises
    `OffcourseError` when the tokenizer has no token for an answer.
    """
    tokenizer, parts, targets = context.tokenizer, [], {}
    for method in context.study.task_methods:
        if task.name not in context.study.tasks_of(method):
            continue
        pairs = load_pairs(task, context.study.data, RESOURCES, context.layout.downloads, method)
        settings = {"task": task.name, **context.parameters}
        encode = partial(tokenizer.encode, name=f"a prompt of task {task.name} ({method.replace('_', ' ')})")
        settings |= {key.removeprefix(f"{method}."): value for key, value in context.parameters.items()}
        if method == "function_vectors":
            require_enough(task, pairs, settings["shots"])
            parts.append(build_prompts(pairs, settings, encode, tokenizer.adds_bos))
        else:
            match = task.task_vector_match
            parts.append(build_task_vector_prompts(pairs, settings, match, encode, tokenizer.encode_bare))
        evaluated = parts[-1][parts[-1]["kind"] == EVALUATED[method]]
        what = f"{context.model}, task {task.name} ({method.replace('_', ' ')})"
        targets[method] = spread(evaluated["target_id"].tolist(), what, tokenizer.decode)
    prompts = pd.concat(parts, ignore_index=True)
    prompts.attrs["targets"] = targets
    unknown = prompts[prompts["target_id"] == tokenizer.unknown]
    if len(unknown):
        words = ", ".join(sorted({target.strip() for target in unknown["target"]})[:5])
        raise OffcourseError(
            f"{context.model}: the tokenizer has no token for the answers of task {task.name} ({words}). Leave the "
            "task or the model out of the study, or correct the word list."
        )
    return prompts
