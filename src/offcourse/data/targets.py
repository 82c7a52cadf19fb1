"""Targets: the tokens of an answer after its prompt, and how well their first token tells answers apart."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from offcourse.errors import OffcourseError

# The report warns if more than this share of a task's items have one target. A model that always predicts that token
# has this accuracy.
COMMON = 0.25


def prompt_and_answer(
    encode: Callable[[str], Sequence[int]], text: str, answer: str, what: str, advice: str
) -> tuple[list[int], list[int]]:
    """Token ids of the prompt `text`, and the token ids that `answer` adds after the prompt.

    The prompt, and prompt and answer together, are each tokenised as one text. Raises `OffcourseError` when the answer
    adds no token, and when the tokenizer merges the end of the prompt with the beginning of the answer, so that no
    token begins the answer.

    what: how messages name the answer. advice: what to do about an answer that is refused.
    """
    prompt, whole = list(encode(text)), list(encode(text + answer))
    if len(whole) <= len(prompt):
        raise OffcourseError(
            f"{what}: the tokenizer has no token of its own for the answer (it is merged with the prompt or dropped). "
            f"{advice}"
        )
    if whole[: len(prompt)] != prompt:
        raise OffcourseError(
            f"{what}: the answer shares a token with its prompt (the tokens of the prompt are not the first tokens of "
            f"prompt and answer). {advice}"
        )
    return prompt, whole[len(prompt) :]


def spread(target_ids: Sequence[int], what: str, decode: Callable[[list[int]], str]) -> dict[str, Any]:
    """Counts of evaluated targets: `items`, `distinct` targets, share of the `commonest` target, and its `token`.

    The share is the accuracy of always predicting the commonest target: the chance level of an accuracy. what: how
    messages name task and model. Raises `OffcourseError` when all of several items have one target.
    """
    counts = Counter(map(int, target_ids))
    [(commonest, times)] = counts.most_common(1)
    token = decode([commonest])
    if len(counts) == 1 and times > 1:
        raise OffcourseError(
            f"{what}: the answers of all {times} evaluated items begin with one token, {token!r} (id {commonest}), so "
            "that accuracy would say nothing about answers. Use answers that differ in their first token for this "
            "model's tokenizer, or leave the task or the model out of the study."
        )
    return {"items": len(target_ids), "distinct": len(counts), "commonest": times / len(target_ids), "token": token}


def is_common(share: float, items: int) -> bool:
    """Whether the commonest target's share deserves a warning. A target that occurs once never does."""
    return share > COMMON and round(share * items) > 1
