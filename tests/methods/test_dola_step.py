"""The step `dola` on prepared models: whole question sets, models of any depth, and what it says of bad input."""

import pandas as pd
import pytest
from harness import harness_mc1, harness_mc2
from homemade import with_model
from oracles import logits

from offcourse.analysis import truthfulness
from offcourse.analysis.results import read_premature_layers
from offcourse.data.questions import load_questions, prompt_text, questions_sha256
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS, leaf_sha256
from offcourse.layout import Layout
from offcourse.methods import dola
from offcourse.models.load import LanguageModel
from offcourse.run.context import StepContext
from offcourse.run.job import run_step
from offcourse.study.config import load_study
from offcourse.study.dola_buckets import candidate_layers

PASSAGES = load_questions(Registry.load().question_set("passages"))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("dola")


@pytest.fixture(scope="module")
def registry(base):
    return with_model(Registry.load(), base, "four")


def study(model: str, protocol=(), **settings):
    settings = {"alphas": [0.0, 0.5], "questions": ["passages"], "limit": 2} | settings
    whole = {"study": "mine", "models": [model], "tasks": ["antonym"], "methods": ["dola"], "dola": settings}
    return load_study(whole | {"protocol": dict(protocol)})


def context(registry, base, model: str, protocol=(), **settings) -> StepContext:
    return StepContext(
        STEPS["dola"], study(model, protocol, **settings), registry, Layout("mine", base), model, threads=1
    )


def compute(made: StepContext) -> pd.DataFrame:
    return dola.compute(made, made.registry.question_set(made.study.dola_questions[0]))


@pytest.mark.parametrize(
    ("layers", "buckets"),
    [(5, "auto"), (28, "auto"), (32, "auto"), (36, "auto"), (80, ["0-25", "25-50", "50-75", "75-100"]), (6, ["0-50"])],
)
def test_every_depth_and_a_single_bucket(tmp_path, layers, buckets):
    deep = with_model(Registry.load(), tmp_path, "deep", num_hidden_layers=layers)
    result = compute(context(deep, tmp_path, "deep", limit=1, buckets=buckets))
    candidates = candidate_layers(buckets, layers)
    assert set(result["bucket"]) == {"", *candidates}
    tokens = result.loc[result["variant"] == "base", "tokens"].sum()
    for bucket, chosen in result.attrs["premature_layers"].items():
        assert sum(chosen.values()) == tokens
        assert {int(layer) for layer in chosen} <= set(candidates[bucket])


def test_a_large_model_gets_the_quartiles(registry, base, monkeypatch):
    monkeypatch.setattr(LanguageModel, "parameters", 70_000_000_000)
    assert set(compute(context(registry, base, "four", limit=1))["bucket"]) == {"", "0-25", "25-50", "50-75", "75-100"}


def test_the_chosen_layers_are_read_back_from_the_file(registry, base):
    made = context(registry, base, "four")
    run_step("dola", made.study, registry, made.layout, "four", threads=1)
    read = read_premature_layers(made.layout.results, "four", "passages")
    assert list(read.columns) == ["bucket", "layer", "tokens"]
    back = {
        bucket: {str(row.layer): row.tokens for row in rows.itertuples()} for bucket, rows in read.groupby("bucket")
    }
    assert back == compute(made).attrs["premature_layers"]


def sequences(encode, number: int, before: str) -> list[tuple[list[int], int]]:
    """Token ids of every answer to a text with `before` in front, and where the answer begins."""
    text = before + PASSAGES[number].text
    return [(encode(f"{text} {answer}"), len(encode(text))) for _, answer in PASSAGES[number].answers]


def test_six_demonstrations_stand_before_every_text_and_are_not_evaluated(registry, base):
    """`factor_shots: 6`, through the whole step."""
    made = context(registry, base, "four", {"factor_shots": 6}, limit=None, alphas=[0.0])
    model, encode, passes = made.engine.model, made.tokenizer.encode, []
    handle = model.blocks[0].register_forward_pre_hook(lambda module, args: passes.append(args[0].shape[1]))
    result = compute(made)
    handle.remove()
    assert result["question"].nunique() == len(PASSAGES) - 6
    before = "".join(f"{shot.text} {shot.best}\n\n" for shot in PASSAGES[-6:])
    score = result[result["variant"] == "base"].set_index(["question", "answer"])["score"]
    for number in (0, len(PASSAGES) - 7):
        for index, (ids, begin) in enumerate(sequences(encode, number, before)):
            log_p = logits(model, ids)[:-1].log_softmax(-1)
            expected = log_p[range(begin - 1, len(ids) - 1), ids[begin:]].sum()
            assert score[number, index] == pytest.approx(float(expected), rel=1e-4)
    # The demonstrations went through the model once in front of all texts, each text once in front of its answers.
    everything = [[ids for ids, _ in sequences(encode, number, before)] for number in range(len(PASSAGES) - 6)]
    flat = [ids for answers in everything for ids in answers]
    shared = next(end for end in range(len(flat[0])) if any(ids[end] != flat[0][end] for ids in flat))
    assert shared >= len(encode(before)) - 1
    behind = [{tuple(ids[:end]) for ids in many for end in range(shared + 1, len(ids) + 1)} for many in everything]
    assert sum(passes) == shared + sum(map(len, behind))
    alone = compute(context(registry, base, "four", limit=1, alphas=[0.0]))
    alone = alone[alone["variant"] == "base"].set_index(["question", "answer"])["score"]
    assert (alone - score.loc[[0]]).abs().max() > 0.1


def test_the_key_holds_the_demonstrations():
    registry = Registry.load()
    row = registry.question_set("passages")
    leaves = []
    for shots in (0, 6):
        leaves.append(leaf_sha256(STEPS["dola"], study("four", {"factor_shots": shots}), registry, "passages"))
        assert leaves[-1] == {"dola": questions_sha256(row, 2, shots)}
    assert leaves[0] != leaves[1]


def test_mc1_and_mc2_of_the_unsteered_model_are_those_of_lm_evaluation_harness(registry, base):
    """On the same log-probabilities: plain forwards of the tiny model, the harness' formulas, no tie among them."""
    made = context(registry, base, "four", questions=["misconceptions"], limit=5)
    found = truthfulness.per_question(compute(made))
    found = found[found["variant"] == "base"].set_index("question")
    row = registry.question_set("misconceptions")
    for number, question in enumerate(load_questions(row, 5)):
        text = prompt_text(row.form, question)
        begin = len(made.tokenizer.encode(text))
        lls = {}
        for _, answer in question.answers:
            ids = made.tokenizer.encode(f"{text} {answer}")
            log_p = logits(made.engine.model, ids)[:-1].log_softmax(-1)
            lls[answer] = float(log_p[range(begin - 1, len(ids) - 1), ids[begin:]].sum())
        mc1 = [lls[answer] for answer in (question.best, *question.false)]
        assert len(set(mc1)) == len(mc1)
        assert found.loc[number, "mc1"] == harness_mc1(mc1)
        mc2 = [lls[answer] for answer in (*question.true, *question.false)]
        labels = [1] * len(question.true) + [0] * len(question.false)
        assert found.loc[number, "mc2"] == pytest.approx(harness_mc2(mc2, labels), rel=1e-3)


def test_a_question_longer_than_the_context_is_named(tmp_path):
    short = with_model(Registry.load(), tmp_path, "short", max_position_embeddings=64)
    with pytest.raises(OffcourseError, match=r"passages, question 1 with its answer: \d+ tokens, but short reads 64"):
        compute(context(short, tmp_path, "short"))
