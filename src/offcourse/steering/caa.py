"""Contrastive activation addition (Rimsky et al. 2024, "Steering Llama 2 via Contrastive Activation Addition").

A pair is one prompt with two continuations, one that shows the behaviour and one that does not. The vector of a layer
is the mean over pairs of the difference of the residual stream after that block, at the position of the answer's (last)
token (their section 3, the mean difference). Here the behaviour is a task: the prompt has `shots` true demonstrations
and a query, and is continued with the query's answer or with another word's. Their answers are letters in brackets,
"(A)", and are read at the letter. A word or a sentence may have several tokens, and is read at its last one, when the
model has seen all of it.

They add the vector to all tokens after the prompt of the user, so here it is added at every token that predicts one of
the answer. For a word of which one token is predicted, that is the last token of the prompt, as for function vectors.
"""

import re
from dataclasses import replace

from offcourse.data.contrasts import Contrasts, differences, labelled
from offcourse.data.draws import keyed_generator
from offcourse.data.names import RESOURCES
from offcourse.data.prompts import EVALUATION_SEED, Pair, prompt_text, unevaluated
from offcourse.data.rows import Task
from offcourse.data.tasks import load_pairs
from offcourse.errors import OffcourseError
from offcourse.settings import Items, Shots
from offcourse.steering.contract import Settings, SteeringMethod

Contrast = tuple[str, str]
# An answer that is a letter in brackets, without its closing bracket.
_LETTER = re.compile(r"(\(\w)\)$")


class CaaSettings(Settings):
    """pairs: contrastive pairs. shots: demonstrations in front of each."""

    pairs: Items = 25
    shots: Shots = 5


class Caa(SteeringMethod):
    """The vector of a layer is a mean of differences and is added at every token of the answer."""

    label = "CAA"
    question = "How much does contrastive activation addition (CAA), built from right and wrong answers?"
    source = "Rimsky et al. 2024"
    settings = CaaSettings()
    sampled = True
    task_settings = ("pairs", "shots")
    positions = "answer"

    def passes(self, settings: CaaSettings, shots: int, trials: int) -> tuple[int, int]:
        """Two prompts a pair; the few tokens of their answers are not counted."""
        return 2 * settings.pairs, settings.shots

    def build(self, context, task: Task):
        """[layers, width] float32. Raises `OffcourseError` when there are too few words that are never evaluated."""
        words = load_pairs(task, context.study.data, RESOURCES, context.layout.downloads)
        train = unevaluated(words, context.parameters["splits"])
        asked = context.parameters
        made = contrasts(task.name, train, asked["pairs"], asked["shots"], draw=context.draw)
        return self.from_contrasts(context, Contrasts(task.name, labelled(context, task.name, made)))

    def from_contrasts(self, context, contrasts: Contrasts):
        """[layers, width] float32: the mean difference at the last token of the texts, or at the letter of "(A)"."""
        pairs = [(_LETTER.sub(r"\1", right), _LETTER.sub(r"\1", wrong)) for right, wrong in contrasts.pairs]
        return differences(context, replace(contrasts, pairs=pairs)).mean(0)


def contrasts(
    task: str, train: list[Pair], pairs: int, shots: int, method: str = "caa", draw: int = 0
) -> list[Contrast]:
    """`pairs` pairs of texts (right, wrong): a prompt with a right and a wrong answer, drawn from the pair's own key.

    The wrong answer is the answer to another word, and no answer that the list has for this query.
    method: the section of the configuration, for messages. draw: which sample of pairs.
    Raises `OffcourseError` when the list cannot give one pair.
    """
    if len(train) <= shots + 1:
        raise OffcourseError(
            f"{method}: task {task} has {len(train)} words that are never evaluated, but {shots} shots need at least "
            f"{shots + 2}: demonstrations, a query and a wrong answer. Use fewer {method}.shots or a longer list."
        )
    made = []
    for index in range(draw * pairs, (draw + 1) * pairs):
        rng = keyed_generator(EVALUATION_SEED, task, "caa", index)
        drawn = [train[row] for row in rng.permutation(len(train))]
        query, right = drawn[shots]
        known = {answer for word, answer in train if word == query}
        wrong = next((answer for _, answer in [*drawn[shots + 1 :], *drawn[:shots]] if answer not in known), None)
        if wrong is None:
            raise OffcourseError(f"{method}: all words of task {task} have one answer, so there is no wrong one.")
        text = prompt_text(drawn[:shots], query)
        made.append((f"{text} {right}", f"{text} {wrong}"))
    return made


METHOD = Caa()
