"""Step `{method}_side_effects`: what a steering method does to texts and tasks that it is not for.

The method is used in one setting (strength and layers), the best of its sweep over all items. Measured are neutral
passages (`resources/passages/neutral.tsv`) and the few-shot prompts of the study's other tasks. A method that changes
the prompt has its text in front of both.
"""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from offcourse.data.passages import neutral
from offcourse.data.prompts import ADVICE
from offcourse.data.rows import Task
from offcourse.data.targets import prompt_and_answer
from offcourse.engine.edit_checks import require_agreement
from offcourse.engine.edited import keep_shared
from offcourse.engine.edits import Edit
from offcourse.engine.together import hits_together, read_texts
from offcourse.errors import OffcourseError
from offcourse.methods.steering import configured, edit_of
from offcourse.schemas.function_vectors import ICL, NEUTRAL, SIDE_EFFECTS, STEERING_SWEEP
from offcourse.schemas.io import as_table, read_parquet

# Token ids of a beginning and of its continuation.
Text = tuple[list[int], list[int]]


def best_setting(context, task: Task) -> tuple[float, int]:
    """(strength, lowest edited layer) with the most hits in the method's sweep over all items.

    Of equally good settings the first counts, by strength and then by layer.
    """
    [name] = context.step.methods
    sweep = read_parquet(context.input(f"{name}_sweep", task), STEERING_SWEEP)
    return sweep.groupby(["strength", "layer"], sort=True)["hit"].sum().idxmax()


def chosen_edit(context, task: Task, strength: float, layer: int, built=None) -> Edit:
    """The edit of one setting. built: vectors in place of the method's own, in float32."""
    [name] = context.step.methods
    method, model = configured(context), context.engine.model
    built = context.tensors(name, task)["vectors"] if built is None else built
    [layers] = [some for some in method.layer_sets(model.layers) if min(some) == layer]
    return edit_of(method, method.apply(built.to(model.module.dtype), strength), layers)


def compute(context, task: Task) -> pd.DataFrame:
    """One row per passage and per item of every other task, under `SIDE_EFFECTS`, of a method that edits states."""
    setting = best_setting(context, task)
    edit, engine = chosen_edit(context, task, *setting), context.engine
    texts = passages(context)
    what = f"{context.model}, side effects on {task.name}"
    require_agreement(engine, [ids for ids, _ in texts], [edit], what, [rest for _, rest in texts], together=True)
    rows = []
    read = zip(_shown(texts, task), read_texts(engine, texts, [edit]), strict=True)
    for number, ((_, rest), (following, scores)) in enumerate(read):
        _require_finite(context, task, setting, scores)
        rows.append((NEUTRAL, number, len(rest), *scores.tolist(), divergence(following)))

    def hits(prompts: pd.DataFrame) -> list[bool]:
        asked = list(prompts["token_ids"]), list(prompts["target_id"])
        return hits_together(engine, *asked, [edit])[:, 0].tolist()

    return _table(setting, rows + _elsewhere(context, task, hits))


def asked(context, task: Task) -> pd.DataFrame:
    """The rows of `compute`, of a method that changes the prompt."""
    setting, engine = best_setting(context, task), context.engine
    front = configured(context).front(context, task, setting[0])
    rows, texts, fronted = [], passages(context), passages(context, front)
    # The passages alone are the same for every task.
    alone = context.once("neutral passages", lambda: list(read_texts(engine, texts)))
    kept = keep_shared(engine, [ids for ids, _ in fronted])
    read = zip(_shown(texts, task), alone, read_texts(engine, fronted, context=kept), strict=True)
    for number, ((_, rest), before, after) in enumerate(read):
        _require_finite(context, task, setting, after[1])
        found = divergence(torch.cat([before[0], after[0]]))
        rows.append((NEUTRAL, number, len(rest), float(before[1]), float(after[1]), found))

    def hits(prompts: pd.DataFrame) -> list[bool]:
        asked = [
            _ids(context, front + prompt.text, prompt.target, f"the answer {prompt.target!r} behind {front!r}", ADVICE)
            for prompt in prompts.itertuples()
        ]
        return engine.read([ids for ids, _ in asked], [answer[0] for _, answer in asked]).hit.tolist()

    return _table(setting, rows + _elsewhere(context, task, hits))


def passages(context, front: str = "") -> list[Text]:
    """The neutral passages in the model's tokens. front: text in front of each."""
    advice = "Leave the model out of the method's models."
    return [
        _ids(context, front + beginning, f" {continuation}", f"the neutral passage {beginning[:40]!r}", advice)
        for beginning, continuation in neutral(context.parameters["passages"])
    ]


def _require_finite(context, task: Task, setting: tuple[float, int], scores: torch.Tensor) -> None:
    """Raise `OffcourseError` for a passage whose log-probability float32 cannot hold."""
    if not torch.isfinite(scores).all():
        [name] = context.step.methods
        raise OffcourseError(
            f"{context.model}, {name} on {task.name}: at strength {setting[0]:g} in layer {setting[1]} the "
            "log-probability of a neutral passage is not a finite number, so its perplexity cannot be measured. Use "
            "smaller strengths, or correct the method."
        )


def divergence(following: torch.Tensor) -> float:
    """KL(first || second) in nats of two distributions, given as [2, vocabulary] log-probabilities."""
    first, second = following.double()
    return max(0.0, float((first.exp() * (first - second)).sum()))


def _ids(context, text: str, continuation: str, what: str, advice: str) -> Text:
    return prompt_and_answer(context.tokenizer.encode, text, continuation, f"{context.model}: {what}", advice)


def _elsewhere(context, task: Task, hits: Callable[[pd.DataFrame], list[bool]]) -> list[tuple]:
    """A row per item of every other task: its hit without steering, from the step `icl`, and its hit with steering.

    The prompts have the most demonstrations that the study has.
    """
    rows = []
    for other in context.other_tasks(task):
        prompts, icl = context.prompts(other, "icl"), read_parquet(context.input("icl", other), ICL)
        most = prompts["shots"].max()
        prompts = prompts[prompts["shots"] == most].sort_values("index")
        before = icl[icl["shots"] == most].set_index("item")["hit"].loc[prompts["index"]]
        pairs = zip(prompts["index"], before, hits(prompts), strict=True)
        rows += [(other.name, item, 1, float(one), float(two), np.nan) for item, one, two in pairs]
    return rows


def _shown(texts: list[Text], task: Task) -> Iterable[Text]:
    return tqdm(texts, desc=f"neutral passages {task.name}", leave=False, disable=None)


def _table(setting: tuple[float, int], rows: list[tuple]) -> pd.DataFrame:
    return as_table([(*setting, *row) for row in rows], SIDE_EFFECTS)
