"""Contrasts: pairs of texts, the first of which shows a behaviour or a task and the second does not."""

from collections.abc import Sequence
from dataclasses import dataclass

from offcourse.data.draws import keyed_generator
from offcourse.data.prompts import EVALUATION_SEED, Pair, prompt_text
from offcourse.errors import OffcourseError


@dataclass(frozen=True)
class Contrasts:
    """What a vector is built from.

    name: the task, or the question set and its fold; it keys the draws of methods that draw among the pairs.
    pairs: (right text, wrong text). groups: a number per pair; pairs with one number are about one question, and a
    method that holds pairs out holds all of them out. Left out, every pair is a group of its own.
    """

    name: str
    pairs: Sequence[tuple[str, str]]
    groups: Sequence[int] | None = None

    @property
    def texts(self) -> list[str]:
        """Right and wrong texts in turn."""
        return [text for pair in self.pairs for text in pair]

    @property
    def grouped(self) -> list[int]:
        """The group of each pair."""
        return list(range(len(self.pairs))) if self.groups is None else list(self.groups)


def differences(context, contrasts: Contrasts):
    """[pairs, layers, width] float32: last-token states of right texts, minus the states of the wrong texts.

    context: `run.context.StepContext`.
    """
    states = context.engine.capture_residuals([context.tokenizer.encode(text) for text in contrasts.texts])
    return states[0::2] - states[1::2]


def labelled(context, task: str, made: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs of texts that a steering method is built from; of a shuffled context, half of them the other way round.

    A vector of pairs whose sides say nothing should do nothing. context: `run.context.StepContext`.

    Raises `OffcourseError` for fewer than two pairs, since half of the pairs are swapped.
    """
    if not context.shuffled:
        return made
    if len(made) < 2:
        raise OffcourseError(
            f"the control shuffled_labels swaps half of the pairs of {task}, and there is {len(made)}."
        )
    order = keyed_generator(EVALUATION_SEED, task, "shuffled labels", context.draw).permutation(len(made))
    return [pair[::-1] if place < len(made) // 2 else pair for pair, place in zip(made, order, strict=True)]


def demonstrated(
    method: str, task: str, train: list[Pair], pairs: int, shots: int, draw: int = 0
) -> list[tuple[str, str]]:
    """`pairs` pairs of prompts (true, shuffled), each drawn from its own key. draw: which sample of pairs.

    Both have the same `shots` words and the same query. In the second, each word has the answer of another
    demonstration (of another word of the list, if all demonstrations have one answer).
    method: the section of the configuration, for messages. train: words that are never evaluated.

    Raises `OffcourseError` for a list that is too short or has one answer.
    """
    if len(train) <= shots:
        raise OffcourseError(
            f"{method}: task {task} has {len(train)} words that are never evaluated, but {shots} shots need at least "
            f"{shots + 1}: demonstrations and a query. Use fewer {method}.shots or a longer list."
        )
    if len({answer for _, answer in train}) == 1:
        raise OffcourseError(f"{method}: all words of task {task} have one answer, so there is no wrong one.")
    made = []
    for index in range(draw * pairs, (draw + 1) * pairs):
        rng = keyed_generator(EVALUATION_SEED, task, "true and shuffled demonstrations", index)
        drawn = [train[row] for row in rng.permutation(len(train))]
        demos, query = drawn[:shots], drawn[shots][0]
        made.append((prompt_text(demos, query), prompt_text(_shifted(demos, drawn[shots:]), query)))
    return made


def _shifted(demos: list[Pair], rest: list[Pair]) -> list[Pair]:
    """The demonstrations, each with the first different answer among those after it, those before it, and the rest."""
    wrong = []
    for place, (word, answer) in enumerate(demos):
        others = [*demos[place + 1 :], *demos[:place], *rest]
        wrong.append((word, next(other for _, other in others if other != answer)))
    return wrong
