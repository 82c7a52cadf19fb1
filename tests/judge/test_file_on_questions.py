"""A vector file judged on a question set: both folds have its vectors, and scores are those of plain forwards."""

import numpy as np
import oracles
import pytest
import torch
from judging import judged_here
from safetensors.torch import load_file
from test_asked import vector_file
from transformers import AutoTokenizer

from offcourse.data.asked import asked_text
from offcourse.data.questions import evaluated
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.judge import card as cards
from offcourse.judge.asked import asked
from offcourse.models.load import load
from offcourse.schemas.io import read_parquet
from offcourse.schemas.questions import STEERED_ANSWERS

REGISTRY, SET, ITEMS, BLOCKS = Registry.load(), "misconceptions", 6, (1, 2)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(what was asked, layout, study's file, folder) of a file with two blocks, added together at every token."""
    folder = tmp_path_factory.mktemp("file")
    path = vector_file(folder / "honesty.safetensors", layers=BLOCKS)
    wanted = asked(str(path), ["tiny-llama"], [], {}, REGISTRY, ITEMS, 2, [1.0, 4.0], [SET])
    _, layout, study_file = judged_here(wanted, folder)
    return wanted, layout, study_file, folder


def test_both_folds_have_the_vectors_of_the_file(made):
    stored = load_file(made[1].artefact("vector_file_folds", ".safetensors", "tiny-llama", SET))
    assert torch.equal(stored["vectors_0"], stored["vectors_1"]) and set(stored["fold"].tolist()) == {0, 1}
    for block in range(4):
        expected = np.linspace(-1, 1, 32, dtype=np.float32) * (block + 1) if block in BLOCKS else np.zeros(32)
        np.testing.assert_array_equal(stored["vectors_0"][block], expected)


def test_scores_are_those_of_plain_forwards_with_the_vectors_of_the_file(made):
    folder = made[1].model_folder("tiny-llama")
    model, tokenizer = load(folder, "Llama", "float32"), AutoTokenizer.from_pretrained(folder)
    scores = read_parquet(made[1].artefact("vector_file_answers", ".parquet", "tiny-llama", SET), STEERED_ANSWERS)
    [question, *_], shots = evaluated(REGISTRY.question_set(SET), ITEMS)
    prompt = asked_text("primer", question, shots)
    before, answer = tokenizer(prompt).input_ids, question.answers[0][1]
    whole = tokenizer(f"{prompt} {answer}").input_ids
    edit = {block: 4.0 * torch.linspace(-1, 1, 32) * (block + 1) for block in BLOCKS}
    logits = oracles.edited(model, whole, list(range(len(whole))), "residual", "add", edit)
    logs = logits.double().log_softmax(-1)
    expected = sum(float(logs[place - 1, whole[place]]) for place in range(len(before), len(whole)))
    mine = scores[(scores["strength"] == 4) & (scores["question"] == 0) & (scores["answer"] == 0)]
    assert mine["layer"].tolist() == [min(BLOCKS)]
    assert mine["score"].tolist() == [pytest.approx(expected, rel=1e-4, abs=1e-3)]


def test_the_card_names_the_file_and_its_verdict_on_the_set(made):
    wanted, _, study_file, folder = made
    card = cards.card(wanted, study_file, folder, 1.0)
    text = "\n".join(cards.lines(card))
    assert text.startswith("honesty.safetensors: add, residual stream, every token, all layers together")
    [row] = card["benefits"]
    assert row["method"] == "Vector file" and f"tiny-llama, {SET}: {row['verdict'].upper()}" in text


def test_a_file_that_does_not_fit_is_refused_before_a_question_is_read(tmp_path):
    path = vector_file(tmp_path / "v.safetensors", layers=(1, 4))
    with pytest.raises(OffcourseError, match="has a vector for block 4, and the model has blocks 0 to 3"):
        asked(str(path), ["tiny-llama"], [], {}, REGISTRY, ITEMS, questions=[SET]).check(REGISTRY)
