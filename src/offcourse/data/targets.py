"""The tokens of an answer behind its prompt, where the tokenizer has such tokens."""

from collections.abc import Callable, Sequence

from offcourse.errors import OffcourseError


def prompt_and_answer(
    encode: Callable[[str], Sequence[int]], text: str, answer: str, what: str, advice: str
) -> tuple[list[int], list[int]]:
    """Token ids of the prompt `text`, and those that `answer` adds behind them.

    Both texts are tokenised whole, as a model would read them. Raises `OffcourseError` when the answer adds no token,
    and when the tokenizer joins the end of the prompt with the beginning of the answer: the prompt alone then ends in a
    token that the whole does not have, and no token at its place begins the answer.

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
