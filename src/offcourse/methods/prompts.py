"""Step `prompts`: every prompt of a task as text and token ids, so that later steps need no tokenizer."""

import pandas as pd

from offcourse.prompts import build_prompts
from offcourse.registry import RESOURCES, Task
from offcourse.tasks import load_pairs, require_enough


def compute(job, task: Task) -> pd.DataFrame:
    """Prompts under `artefacts.PROMPTS` (paper section 4.1)."""
    pairs = load_pairs(task, job.study.data, RESOURCES, job.layout.downloads)
    require_enough(task, pairs, job.parameters["shots"])
    tokenizer = job.tokenizer
    settings = {"task": task.name, **job.parameters}
    return build_prompts(pairs, settings, tokenizer.encode, tokenizer.adds_bos)
