"""Step `prompts`: every prompt of a task as text and token ids, so that later steps need no tokenizer."""

import pandas as pd

from offcourse.errors import OffcourseError
from offcourse.prompts import build_prompts
from offcourse.registry import RESOURCES, Task
from offcourse.tasks import load_pairs, require_enough


def compute(job, task: Task) -> pd.DataFrame:
    """Prompts under `artefacts.PROMPTS` (paper section 4.1)."""
    pairs = load_pairs(task, job.study.data, RESOURCES, job.layout.downloads)
    require_enough(task, pairs, job.parameters["shots"])
    tokenizer = job.tokenizer
    settings = {"task": task.name, **job.parameters}
    prompts = build_prompts(pairs, settings, tokenizer.encode, tokenizer.adds_bos)
    unknown = prompts[prompts["target_id"] == tokenizer.unknown]
    if len(unknown):
        words = ", ".join(sorted({target.strip() for target in unknown["target"]})[:5])
        raise OffcourseError(
            f"{job.model}: the tokenizer has no token for the answers of task {task.name} ({words}). Leave the task "
            "out for this model, or correct the word list."
        )
    return prompts
