"""An answer's tokens come after the prompt's tokens, or the answer is refused."""

from functools import partial

import pytest

from offcourse.data.prompts import build_prompts
from offcourse.data.questions import Question
from offcourse.data.targets import is_common, prompt_and_answer, spread
from offcourse.data.task_vector_prompts import build_task_vector_prompts
from offcourse.errors import OffcourseError
from offcourse.methods.dola import tokenized
from offcourse.models.random import random_tokenizer

refused = partial(pytest.raises, OffcourseError, match="the answer shares a token with its prompt")
PAIRS = [(f"word{i}", f"'answer{i}") for i in range(40)]
SIZES = {"shots": 2, "dummy_queries": 2, "dev_items": 2, "test_items": 2, "baseline_items": 2}


def encoder(*texts):
    """Text to ids; signs that stand together in `texts` become one token."""
    tokenizer = random_tokenizer([*texts, "example:word->answer"] * 20, adds_bos=True)
    return tokenizer, partial(tokenizer.encode, add_special_tokens=False)


def test_the_ids_of_the_prompt_come_first():
    tokenizer, _ = encoder("a->b")
    prompt, answer = prompt_and_answer(tokenizer.encode, "a->", "b", "", "")
    assert prompt + answer == tokenizer.encode("a->b")
    assert tokenizer.decode(answer) == "b"


def test_an_apostrophe_that_joins_the_arrow_is_refused_for_task_vectors():
    """As on SmolLM2: the prompt ends in "->", and prompt plus answer have "->'" in that place."""
    tokenizer, bare = encoder("example:word->'answer")
    assert len(tokenizer.encode("a->'b")) > len(tokenizer.encode("a->"))
    with refused() as caught:
        build_task_vector_prompts(PAIRS, {"task": "mine"} | SIZES, "prefix", tokenizer.encode, bare)
    assert "task mine, the answer \"'answer" in str(caught.value)
    apart, bare = encoder("example:word -> 'answer")
    frame = build_task_vector_prompts(PAIRS, {"task": "mine"} | SIZES, "prefix", apart.encode, bare)
    assert {apart.decode([token]) for token in frame["target_id"]} == {"'"}


def test_a_colon_that_joins_the_answers_space_is_refused_for_function_vectors():
    settings = {"task": "mine", "shots": 2, "trials": 2, "test_items": 3, "splits": "disjoint", "sampling": "keyed"}
    settings["head_read_position"] = "last"
    pairs = [(f"word{i}", f"answer{i}") for i in range(40)]
    tokenizer, _ = encoder("A: answer")
    build_prompts(pairs, settings, tokenizer.encode, True)

    def joined(text):
        """A tokenizer without pre-tokenisation reads ": a" as one token."""
        return [ord(sign) for sign in text.replace("A: a", "\u2603")]

    with refused():
        build_prompts(pairs, settings, joined, False)


def test_an_answer_to_a_question_that_joins_its_prompt_is_refused():
    question = Question("What?", "yes", ("yes",), ("no",))

    def joined(text):
        return [ord(sign) for sign in text.replace(": y", "\u2603")]

    with refused():
        list(tokenized(joined, "A:", question, 0))
    assert next(tokenized(lambda text: list(map(ord, text)), "A:", question, 0)).targets == tuple(map(ord, " yes"))


def test_the_spread_of_targets():
    assert spread([7, 7, 8, 9], "m, task t", str) == {"items": 4, "distinct": 3, "commonest": 0.5, "token": "[7]"}
    assert spread([7], "m, task t", str)["distinct"] == 1
    with pytest.raises(OffcourseError, match=r"m, task t: the answers of all 3 evaluated items begin with one token"):
        spread([7, 7, 7], "m, task t", str)


@pytest.mark.parametrize(("share", "items", "common"), [(0.26, 50, True), (0.25, 50, False), (1 / 3, 3, False)])
def test_a_common_target_deserves_a_warning(share, items, common):
    assert is_common(share, items) is common
