"""The text of a question as it is put to a model by a steering method or by an instruction in front."""

from collections.abc import Sequence

from offcourse.data.questions import Question, prompt_text


def asked_text(
    form: str,
    question: Question,
    shots: Sequence[Question] = (),
    instruction: str = "",
    demonstrations: Sequence[Question] = (),
) -> str:
    """The prompt of a question; each answer follows it after a space.

    shots: as in `prompt_text`. instruction: a sentence in front of everything. demonstrations: questions with their
    best answers, right before the question.
    """
    own = _own(form, question)
    before = "" if form == "ab" else prompt_text(form, question, shots).removesuffix(own)
    shown = "".join(f"{_own(form, each)} {each.best}\n\n" for each in demonstrations)
    return (f"{instruction}.\n\n" if instruction else "") + before + shown + own


def _own(form: str, question: Question) -> str:
    """The part of a prompt that is the question's own."""
    return f"Q: {question.text}\nA:" if form == "primer" else question.text
