"""The neutral passages: distinct texts of the length that the documentation says; a spoiled file is refused."""

import re

import pytest

from offcourse.data.names import RESOURCES
from offcourse.data.passages import PASSAGES, neutral
from offcourse.errors import OffcourseError


def test_there_are_enough_and_no_two_share_a_sentence():
    passages = neutral()
    assert len(passages) >= 200
    seen = {}
    for number, passage in enumerate(passages):
        text = " ".join(passage)
        assert text == text.strip() and "  " not in text
        for sentence in re.split(r"(?<=[.!?:])\s+", text):
            assert seen.setdefault(sentence.casefold(), number) == number, sentence
        # Some 45 to 60 tokens of a tokenizer with 49,152 words.
        assert 32 <= len(text.split()) <= 60, text


def test_no_passage_is_mostly_made_of_another_s_words():
    """Filler from a template shares runs of words; these passages share none of eight words."""
    seen: dict[tuple, int] = {}
    for number, passage in enumerate(neutral()):
        words = re.findall(r"\w+", " ".join(passage).casefold())
        for start in range(len(words) - 7):
            run = tuple(words[start : start + 8])
            assert seen.setdefault(run, number) == number, run


def test_the_first_are_the_same_however_many_are_asked_for():
    assert neutral(3) == neutral()[:3]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("beginning\t", "start\t", 1), "expected the columns beginning and continuation"),
        (lambda text: text + "A beginning without an end.\t\n", "and no empty cell"),
        (lambda text: text + text.splitlines()[1] + "\n", r"line \d+: this passage stands there twice"),
        (lambda text: "\n".join(text.splitlines()[:3]) + "\n", "has 2 passages, fewer than the 5"),
    ],
)
def test_a_spoiled_file_is_one_message(tmp_path, change, said):
    path = tmp_path / PASSAGES
    path.parent.mkdir(parents=True)
    path.write_text(change((RESOURCES / PASSAGES).read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(OffcourseError, match=said):
        neutral(5, tmp_path)
