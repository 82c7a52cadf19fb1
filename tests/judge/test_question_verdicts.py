"""Verdicts on question sets: numbers against slow loops over plain results, words by their rules, refusals."""

import dataclasses
import json
import re

import numpy as np
import pytest

from offcourse.analysis import benefits
from offcourse.analysis.benefits import BENEFITS, BETTER, BETTER_THAN_LUCK, judged
from offcourse.analysis.verdicts import NO_BETTER_THAN_LUCK, NO_BETTER_THAN_PROMPTING, UNSURE, compared
from offcourse.data.draws import keyed_generator
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.judge.asked import asked
from offcourse.study.config import load_study

REGISTRY = Registry.load()
ITEMS = 40


def row(base, best, prompting, name="s", seed=0):
    """The row of a grid of three settings, of which one has `best` right answers."""
    some = np.random.default_rng(seed)
    shares = [np.arange(ITEMS) < count for count in (base, best, base, prompting)]
    zero, top, other, asked_first = (some.permutation(each).astype(float) for each in shares)
    found = compared(zero, np.stack([other, top, other]), top, asked_first, name)
    return found | {"model": "m", "method": "CAA", "on": name, "measure": "MC1", "setting": "strength 1"}


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        ((4, 36, 8), BETTER),
        ((4, 36, 36), UNSURE),
        ((4, 40, 40), NO_BETTER_THAN_PROMPTING),
        ((20, 4, 8), NO_BETTER_THAN_LUCK),
        ((4, 6, 4), UNSURE),
    ],
)
def test_each_word_follows_from_its_numbers(numbers, word):
    frame = judged([row(*numbers)])
    assert frame["verdict"].tolist() == [word]
    assert BENEFITS.validate(frame) is not None


def test_without_prompting_nothing_is_said_of_it():
    base, top = np.zeros(ITEMS), np.ones(ITEMS)
    found = compared(base, top[None], top, None, "s")
    frame = judged([found | {"model": "m", "method": "CAA", "on": "s", "measure": "MC1", "setting": "strength 1"}])
    assert frame["verdict"].tolist() == [BETTER_THAN_LUCK]
    assert frame[["prompting", "over_prompting", "p_prompting_holm"]].isna().all(axis=None)


def test_the_numbers_are_those_of_slow_loops():
    some = np.random.default_rng(3)
    base, grid = (some.random(12) < 0.3).astype(float), (some.random((4, 12)) < 0.6).astype(float)
    steered, prompting = some.random(12), some.random(12)
    found = compared(base, grid, steered, prompting, "s")
    assert found["gain"] == pytest.approx(sum(s - b for s, b in zip(steered, base, strict=True)) / 12)
    assert found["over_luck"] == found["gain"]
    signs = keyed_generator(0, "s", "swaps", 12).choice((-1.0, 1.0), size=(10_000, 12))
    largest = max(sum(each - base) for each in grid)
    at_least = sum(
        max(sum(sign * (hit - zero) for sign, hit, zero in zip(coins, each, base, strict=True)) for each in grid)
        >= largest - 1e-9
        for coins in signs.tolist()
    )
    assert found["p_luck"] == pytest.approx((1 + at_least) / 10_001)
    coins = keyed_generator(0, "s", "signs", 12).choice((-1.0, 1.0), size=(10_000, 12))
    differences = (steered - prompting).tolist()
    total = sum(differences)
    at_least = sum(
        sum(sign * each for sign, each in zip(mine, differences, strict=True)) >= total - 1e-9
        for mine in coins.tolist()
    )
    assert found["p_prompting"] == pytest.approx((1 + at_least) / 10_001)
    places = keyed_generator(0, "s", "bootstrap over items", 12).integers(12, size=(10_000, 12))
    gains = steered - base
    ends = np.quantile([gains[mine].mean() for mine in places], [0.025, 0.975])
    assert (found["gain_low"], found["gain_high"]) == pytest.approx(tuple(ends))


def test_p_values_are_corrected_over_the_rows_of_a_method():
    rows = [row(4, 20, 8, name, seed) for seed, name in enumerate("ab")]
    alone = [judged([each])["p_luck_holm"].iloc[0] for each in rows]
    both = judged(rows)
    smallest = both["p_luck"].idxmin()
    assert both["p_luck_holm"][smallest] == pytest.approx(min(1, 2 * min(alone)))
    apart = judged([rows[0], rows[1] | {"method": "ITI"}])
    assert apart["p_luck_holm"].tolist() == alone


def test_a_word_of_a_method_that_works_is_never_said():
    assert not {"works", "works but harms"} & set(benefits.WORDS)


def of(subject, tasks=(), questions=("misconceptions",), items=40, registry=REGISTRY, **given):
    return asked(str(subject), ["tiny-llama"], list(tasks), given, registry, items, questions=questions)


def test_question_sets_alone_need_no_function_vectors():
    found = of("caa")
    found.check(REGISTRY)
    study = found.study()
    assert "tasks" not in study and study["methods"] == ["caa", "prompting"]
    assert study["caa"] == {"questions": ["misconceptions"], "limit": 40}
    assert study["prompting"] == {"strengths": [0, 5], "questions": ["misconceptions"], "limit": 40}
    assert load_study(study).protocol.selection == "halves"


def test_both_kinds_are_one_study():
    found = of("caa", ["antonym"], ["misconceptions", "behaviours"])
    found.check(REGISTRY)
    study = load_study(found.study())
    assert study.tasks == ["antonym"] and study.caa.questions == study.prompting.questions
    assert study.caa.controls == ["random_direction", "sign_flipped", "shuffled_labels"]
    alone = asked("caa", ["tiny-llama"], ["antonym"], {}, REGISTRY).study()
    assert (
        not {"selection", "questions", "limit"} & set(re.findall(r"\w+", json.dumps(alone)))
        and alone["study"] != study.study
    )


def test_the_baseline_has_no_more_demonstrations_than_the_smaller_fold():
    found = of("caa", items=6)
    assert 2 <= found.demonstrations <= 3
    assert found.study()["prompting"]["strengths"] == [0, found.demonstrations]


@pytest.mark.parametrize(
    ("subject", "questions", "items", "said"),
    [
        ("caa", ["misconception"], 40, "did you mean 'misconceptions'"),
        ("caa", ["misconceptions"], 3, r"3 questions cannot be divided into two folds .* limit is --items, here 3"),
        ("caa", ["misconceptions-mc"], 40, "misconceptions-mc has only letters as answers"),
        ("activation_addition", ["misconceptions"], 40, "activation_addition cannot be built from the answers"),
    ],
)
def test_a_set_that_cannot_be_is_one_message(subject, questions, items, said):
    with pytest.raises(OffcourseError, match=said) as refused:
        of(subject, (), questions, items).check(REGISTRY)
    assert "\n" not in str(refused.value)


def test_a_set_of_the_users_own_that_is_too_small_is_refused(tmp_path, monkeypatch):
    own = dataclasses.replace(REGISTRY.question_set("behaviours"), name="own", file="own.tsv")
    (tmp_path / "questions").mkdir()
    text = "question\tmatching\tnot_matching\tletter\nWhy?\tSo\tNot so\tA\nWho?\tMe\tYou\tB\n"
    (tmp_path / "questions/own.tsv").write_text(text)
    registry = dataclasses.replace(REGISTRY, questions={**REGISTRY.questions, "own": own})
    monkeypatch.setattr("offcourse.judge.asked.RESOURCES", tmp_path)
    with pytest.raises(OffcourseError, match="own: its 2 questions cannot be divided"):
        of("caa", (), ["own"], registry=registry)
