"""Two folds of a question set: vectors are built from the questions of one fold and judged on those of the other.

Questions of one text, and questions that share an answer, are in one fold, so that no answer that a vector was built
from is judged. A stock answer ("I have no comment", "(A)"), which many questions of a set have, ties none together: it
says nothing about a question. No vector is built from a stock answer if the question has another one.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from offcourse.data.asked import asked_text
from offcourse.data.contrasts import Contrasts
from offcourse.data.draws import keyed_generator
from offcourse.data.questions import Question
from offcourse.data.rows import QuestionSet
from offcourse.errors import OffcourseError

SEED = 0
# An answer that more than this share of the questions have, and more than two of them, is a stock answer.
STOCK = 0.05
# Questions that each fold needs at least: one to fit a probe, and one to choose by it.
LEAST = 2


def folds(name: str, questions: Sequence[Question]) -> np.ndarray:
    """[questions] 0 or 1: the fold of each question, drawn by the name of the set.

    The folds are as equal as the questions that stay together allow; questions whose best answer is one stock answer
    are divided evenly too.

    Raises `OffcourseError` for a set that cannot be divided.
    """
    stock = stock_answers(questions)
    tied = _tied(questions, stock)
    order = keyed_generator(SEED, name, "folds", 0).permutation(len(tied)).tolist()
    groups = [tied[place] for place in order]
    # The largest groups come first, so that the small ones can fill up what the large ones leave uneven.
    groups.sort(key=lambda group: (-len(group), _best_of(questions[group[0]], stock)))
    found, sizes = np.zeros(len(questions), int), [0, 0]
    for group in groups:
        fold = int(sizes[1] < sizes[0])
        found[group] = fold
        sizes[fold] += len(group)
    if min(sizes) < LEAST:
        raise OffcourseError(
            f"question set {name}: its {len(questions)} questions cannot be divided into two folds of at least {LEAST} "
            f"each, since a vector is judged on questions that it was not built from (of {len(tied)} groups of "
            "questions, each shares a text or an answer and stays together). Use more questions (limit of the method's "
            "section, or a longer set), or leave the set out of the method's questions."
        )
    return found


def contrasts_of(
    row: QuestionSet, name: str, questions: Sequence[Question], shots: Sequence[Question], stock: set[str]
) -> Contrasts:
    """The contrasts of some questions: each question with a true and with a false answer, as it is put to a model.

    A question has as many pairs as it has answers of the rarer kind; no answer is used twice.
    name: of the contrasts. shots: demonstrations before a text to be continued. stock: stock answers of the whole set.
    """
    pairs, groups = [], []
    for number, question in enumerate(questions):
        text = asked_text(row.form, question, shots)
        for true, false in zip(_own(question.true, stock), _own(question.false, stock), strict=False):
            pairs.append((f"{text} {true}", f"{text} {false}"))
            groups.append(number)
    return Contrasts(name, pairs, groups)


def stock_answers(questions: Sequence[Question]) -> set[str]:
    """The stock answers of a set, as `_plain` has them."""
    counts = Counter(answer for question in questions for answer in {_plain(text) for _, text in question.answers})
    return {answer for answer, count in counts.items() if count > max(2, STOCK * len(questions))}


def _own(answers: Sequence[str], stock: set[str]) -> list[str]:
    """The answers that are no stock answers; all of them if there is no other."""
    return [answer for answer in answers if _plain(answer) not in stock] or list(answers)


def _best_of(question: Question, stock: set[str]) -> str:
    return question.best if _plain(question.best) in stock else ""


def _tied(questions: Sequence[Question], stock: set[str]) -> list[list[int]]:
    """Groups of questions that stay together, in the order of their first questions."""
    group = list(range(len(questions)))
    seen: dict[tuple[str, str], int] = {}

    def root(place: int) -> int:
        while group[place] != place:
            place = group[place]
        return place

    for place, question in enumerate(questions):
        marks = [("text", _plain(question.text))]
        marks += [("answer", _plain(answer)) for _, answer in question.answers if _plain(answer) not in stock]
        for mark in marks:
            other = root(seen.setdefault(mark, place))
            group[max(other, root(place))] = min(other, root(place))
    found: dict[int, list[int]] = {}
    for place in range(len(questions)):
        found.setdefault(root(place), []).append(place)
    return list(found.values())


def _plain(text: str) -> str:
    """A text without what does not tell texts apart."""
    return " ".join(text.casefold().split()).rstrip(".")
