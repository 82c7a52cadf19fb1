"""The steps of a steering method on question sets: its vectors for two folds, and the scores of answers under edits.

A question is judged by the vectors of the fold that it is not in (`offcourse.data.folds`). The score of an answer is
the log-probability of all its tokens after the question, as for DoLa.
"""

from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from offcourse.data.asked import asked_text
from offcourse.data.folds import contrasts_of, folds, stock_answers
from offcourse.data.names import RESOURCES
from offcourse.data.questions import Question, evaluated
from offcourse.data.rows import QuestionSet
from offcourse.data.targets import prompt_and_answer
from offcourse.engine.edit_checks import require_agreement
from offcourse.engine.edited import keep_shared, score_answers
from offcourse.engine.edits import BEHIND_PROMPT
from offcourse.errors import OffcourseError
from offcourse.methods.contract_checks import sets_of, values_of, vectors_of
from offcourse.methods.dola import Answer
from offcourse.methods.steering import configured, edit_list

ADVICE = "Correct the question, or leave its set ({0}.questions) or the model ({0}.models) out."


def vectors(context, row: QuestionSet) -> tuple[dict[str, np.ndarray], dict]:
    """({`vectors_0`, `vectors_1`: float32, built from the questions of a fold; `fold`: [questions] int64}, notes).

    Raises `OffcourseError` for a set that cannot be divided, another shape, or numbers that are not finite.
    """
    [name] = context.step.methods
    method = configured(context)
    questions, shots = _questions(context, row)
    fold, stock, found = folds(row.name, questions), stock_answers(questions), {}
    for mine in (0, 1):
        some = [question for question, where in zip(questions, fold, strict=True) if where == mine]
        pairs = contrasts_of(row, f"{row.name}, fold {mine}", some, shots, stock)
        build, what = partial(method.from_contrasts, context, pairs), f"{name} on {row.name}: from_contrasts"
        found[f"vectors_{mine}"] = vectors_of(method, context.engine.model, build, what, name, draw=0).numpy()
    return {**found, "fold": fold.astype(np.int64)}, {"method": name}


def answers(context, row: QuestionSet) -> pd.DataFrame:
    """The scores of every answer without an edit and under every edit (`STEERED_ANSWERS`), layer by layer."""
    [name] = context.step.methods
    method, strengths, engine = configured(context), context.parameters["strengths"], context.engine
    questions, shots = _questions(context, row)
    stored = context.tensors(f"{name}_folds", row)
    fold = stored["fold"].tolist()
    sets = sets_of(method, engine.model.layers, name)
    by_fold = []
    for mine in (0, 1):
        built = stored[f"vectors_{mine}"].to(engine.model.module.dtype)
        by_fold.append(edit_list(method, values_of(method, built, strengths, name), sets))
    asked = _asked(context, row, [asked_text(row.form, question, shots) for question in questions], questions)
    kept = None
    if method.site == "logits" or method.positions in BEHIND_PROMPT:
        kept = keep_shared(engine, [mine[0].ids[: mine[0].last + 1] for mine in asked])
    longest = [max(mine, key=lambda answer: len(answer.ids)) for mine in asked]
    require_agreement(
        engine,
        [each.ids[: each.last + 1] for each in longest],
        by_fold[0],
        f"{context.model}, {name} on {row.name}",
        [each.targets for each in longest],
    )
    axes = [(0.0, -1), *((float(strength), min(layers)) for layers in sets for strength in strengths)]
    frames = []
    for number, mine in enumerate(tqdm(asked, desc=f"{name} {row.name}", leave=False, disable=None)):
        prompt = mine[0].ids[: mine[0].last + 1]
        scores = score_answers(engine, prompt, [each.targets for each in mine], by_fold[1 - fold[number]], kept)
        if not torch.isfinite(scores).all():
            strength, layer = axes[int((~torch.isfinite(scores)).any(1).nonzero()[0])]
            raise OffcourseError(
                f"{context.model}, {name} on {row.name}: at strength {strength:g} in layer {layer} the log-probability "
                f"of an answer to question {number + 1} is not a finite number. Use smaller strengths, or correct the "
                "method."
            )
        frames.append(_frame(mine, fold[number], axes, scores))
    return pd.concat(frames, ignore_index=True)


def prompted(context, row: QuestionSet) -> pd.DataFrame:
    """The scores of every answer without and with an instruction in front (`STEERED_ANSWERS`); the layer is 0.

    A strength is a number of demonstrations, which are questions of the other fold with their best answers, in the
    order of the set.
    """
    [name] = context.step.methods
    instruction, strengths = configured(context).introduce(row), context.parameters["strengths"]
    questions, shots = _questions(context, row)
    fold = folds(row.name, questions)
    others = [[q for q, where in zip(questions, fold, strict=True) if where != mine] for mine in (0, 1)]
    if max(strengths) > (most := min(map(len, others))):
        raise OffcourseError(
            f"{name}.strengths: {max(strengths):g} demonstrations are more than the {most} questions of a fold of "
            f"{row.name}. Use fewer, or a longer set."
        )
    plain = [asked_text(row.form, question, shots) for question in questions]
    found = [_scored(context, row, plain, questions, fold, (0.0, -1))]
    for strength in strengths:
        texts = [
            asked_text(row.form, question, shots, instruction, others[where][: int(strength)])
            for question, where in zip(questions, fold, strict=True)
        ]
        found.append(_scored(context, row, texts, questions, fold, (float(strength), 0)))
    return pd.concat(found, ignore_index=True)


def _scored(context, row, texts, questions, fold, at: tuple[float, int]) -> pd.DataFrame:
    """The rows of all questions behind some texts. The beginning that the texts of a fold share is run once."""
    engine, asked, frames = context.engine, _asked(context, row, texts, questions), {}
    for where in (0, 1):
        places = np.flatnonzero(fold == where).tolist()
        prompts = {place: asked[place][0].ids[: asked[place][0].last + 1] for place in places}
        kept = keep_shared(engine, list(prompts.values()))
        for place, prompt in tqdm(prompts.items(), desc=f"prompting {row.name}", leave=False, disable=None):
            scores = score_answers(engine, prompt, [each.targets for each in asked[place]], [], kept)
            frames[place] = _frame(asked[place], where, [at], scores)
    return pd.concat([frames[place] for place in sorted(frames)], ignore_index=True)


def _questions(context, row: QuestionSet) -> tuple[list[Question], list[Question]]:
    """The questions that are put to the model, and demonstrations before texts to be continued."""
    asked = context.parameters
    return evaluated(row, asked["limit"], int(asked["factor_shots"]), RESOURCES, context.layout.downloads)


def _asked(context, row: QuestionSet, texts: Sequence[str], questions: Sequence[Question]) -> list[list[Answer]]:
    """The tokenised answers of every question. texts: the prompts of the questions."""
    [name] = context.step.methods
    found = []
    for number, (text, question) in enumerate(zip(texts, questions, strict=True)):

        @lru_cache(2)
        def encode(text: str, number=number) -> list[int]:
            return context.tokenizer.encode(text, name=f"{name} on {row.name}, question {number + 1} with its answer")

        mine = []
        for index, (kind, answer) in enumerate(question.answers):
            what = f"{row.name}, question {number + 1}, {answer!r}"
            prompt, behind = prompt_and_answer(encode, text, f" {answer}", what, ADVICE.format(name))
            mine.append(Answer(number, index, kind, (*prompt, *behind), len(prompt) - 1))
        found.append(mine)
    return found


def _frame(mine: Sequence[Answer], fold: int, axes: Sequence[tuple[float, int]], scores: torch.Tensor) -> pd.DataFrame:
    """The rows of one question. axes: (strength, layer) of each row of `scores` [axes, answers]."""
    times = len(axes)
    return pd.DataFrame(
        {
            "fold": fold,
            "strength": np.repeat([strength for strength, _ in axes], len(mine)),
            "layer": np.repeat([layer for _, layer in axes], len(mine)),
            "question": mine[0].question,
            "answer": np.tile([each.answer for each in mine], times),
            "kind": np.tile(np.array([each.kind for each in mine], object), times),
            "tokens": np.tile([len(each.targets) for each in mine], times),
            "score": scores.double().numpy().ravel(),
        }
    )
