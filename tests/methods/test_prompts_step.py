"""The step `prompts` on word lists of one's own: what it says of the targets, and what it refuses."""

import dataclasses

import pytest
from homemade import with_model

from offcourse.analysis.results import read_targets
from offcourse.data.registry import Registry
from offcourse.errors import OffcourseError
from offcourse.graph.keys import STEPS
from offcourse.layout import Layout
from offcourse.methods.prompts import compute
from offcourse.run.context import StepContext
from offcourse.run.job import run_step
from offcourse.study.config import load_study

WORDS = [f"{first}{second}" for first in "abcdefgh" for second in "klmnoprst"]


@pytest.fixture
def made(tmp_path):
    """`made(answers)`: the prompts of a task with these answers, and what is needed to run its step."""

    def make(answers, methods=("function_vectors",), shots=3, **shape):
        registry = with_model(Registry.load(), tmp_path, "mine", **shape)
        lines = [f"{word}\t{answer}\n" for word, answer in zip(WORDS, answers, strict=False)]
        path = tmp_path / "words.tsv"
        path.write_text("".join(["a\tb\n", *lines]), encoding="utf-8")
        task = registry.task("antonym")
        task = dataclasses.replace(
            task, words=str(path), input_column="a", output_column="b", task_vector_match="prefix"
        )
        registry = dataclasses.replace(registry, tasks=dict(registry.tasks) | {"antonym": task})
        study = load_study(
            {
                "study": "mine",
                "models": ["mine"],
                "tasks": ["antonym"],
                "methods": list(methods),
                "function_vectors": {"shots": shots, "trials": 2, "test_items": 10},
                "task_vectors": {"shots": 2, "dev_items": 3, "test_items": 6, "baseline_items": 3},
            }
        )
        context = StepContext(STEPS["prompts"], study, registry, Layout("mine", tmp_path), "mine")
        return compute(context, task), context

    return make


def test_the_spread_of_targets_is_in_the_file(made):
    frame, _ = made(WORDS[::-1], ("function_vectors", "task_vectors"))
    assert set(frame.attrs["targets"]) == {"function_vectors", "task_vectors"}
    for method, kind in (("function_vectors", "query"), ("task_vectors", "tv_test_query")):
        said, targets = frame.attrs["targets"][method], frame[frame["kind"] == kind]["target_id"]
        assert said["items"] == len(targets)
        assert said["distinct"] == targets.nunique()
        assert said["commonest"] == targets.value_counts(normalize=True).max()


@pytest.mark.parametrize(
    ("answers", "methods"),
    [
        ([f"12{n}" for n in range(100, 200)], ["function_vectors"]),
        (["☃" * (n + 1) for n in range(100)], ["function_vectors"]),
        ([f"~{word}" for word in WORDS], ["task_vectors"]),
    ],
    ids=["years", "signs", "a sign in front"],
)
def test_answers_that_begin_with_one_token_are_refused(made, answers, methods):
    """As years are on SmolLM2, whose tokenizer takes the space in front of a number for a token."""
    with pytest.raises(OffcourseError, match=r"mine, task antonym .*: the answers of all \d+ evaluated items"):
        made(answers, methods)


def test_prompts_beyond_the_context_are_refused(made):
    with pytest.raises(
        OffcourseError, match=r"prompt of task antonym \(function vectors\): \d+ tokens, but mine reads 24"
    ):
        made(WORDS[::-1], max_position_embeddings=24)
    # As the message advises.
    made(WORDS[::-1], max_position_embeddings=24, shots=1)


def test_the_spread_survives_the_store(made):
    frame, context = made(WORDS[::-1])
    run_step("prompts", context.study, context.registry, context.layout, "mine")
    assert (
        read_targets(context.layout.results, "mine", "antonym", "function_vectors")
        == frame.attrs["targets"]["function_vectors"]
    )
