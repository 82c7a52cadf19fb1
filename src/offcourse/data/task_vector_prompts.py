"""Every prompt of the task-vector study of one task, as text and token ids (paper section 4; Hendel et al. 2023).

A demonstration is "example:<input>-><output>" and a newline, the query "example:<input>->"; there is no instruction.
One dataset is a query with its demonstrations; its dummy queries stand in the query's place when the vector is built.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from offcourse.data.draws import keyed_generator
from offcourse.data.prompts import ADVICE, Pair
from offcourse.data.targets import prompt_and_answer
from offcourse.errors import OffcourseError
from offcourse.schemas.prompts import PROMPTS

SEED = 41
# Answers with a space in front are used if at least this many of them are one token, as a share of those without.
SPACED_SHARE = 0.7
SPLITS = ("test", "dev")


def usable_pairs(pairs: list[Pair], match: str, encode_bare: Callable[[str], list[int]]) -> list[Pair]:
    """The pairs whose output is one token, written as in a prompt, in list order.

    Pairs are counted with and without a space in front of input and output. The spaced form is used if it leaves at
    least `SPACED_SHARE` times as many pairs as the plain form. Tasks whose `match` is "prefix" are not filtered and
    have no space. encode_bare: text to token ids without special tokens.
    """
    if match == "prefix":
        return pairs
    spaced = [(f" {word}", f" {answer}") for word, answer in pairs]
    # The "!" keeps tokenizers that mark the beginning of a text from counting that mark as a token of the answer.
    plain, spaced = (
        [(word, answer) for word, answer in form if len(encode_bare(f"!{answer}")) == 2] for form in (pairs, spaced)
    )
    return spaced if len(spaced) >= SPACED_SHARE * len(plain) else plain


def prompt_text(demos: list[Pair], query: str) -> str:
    """The prompt up to and including the last "->"."""
    return "".join(f"example:{word}->{answer}\n" for word, answer in demos) + f"example:{query}->"


def build_task_vector_prompts(
    pairs: list[Pair],
    settings: Mapping[str, Any],
    match: str,
    encode: Callable[[str], list[int]],
    encode_bare: Callable[[str], list[int]],
) -> pd.DataFrame:
    """All prompts of one task for one tokenizer, a table of schema `PROMPTS`.

    settings: `task` (name), `shots`, `dummy_queries`, `dev_items`, `test_items`, `baseline_items`.

    Rows, in this order; `index` is the dataset's number:
    tv_baseline: the query alone.
    tv_icl: a test dataset, `shots` demonstrations and the query.
    tv_test_dummy, tv_dev_dummy: the demonstrations of a dataset and, in turn, each of its dummy queries.
    tv_test_query, tv_dev_query: the query alone.
    `target` is the answer as it stands in a prompt and `target_id` its first token.

    Every dataset is drawn from its own generator, keyed by (seed, task, role, index), under every protocol. The
    released
    code cannot be followed: it drew from a set of strings, whose order changes with every start of the interpreter.
    Raises `OffcourseError` when too few pairs remain, and for an answer that shares a token with its prompt.
    """
    pairs, found = usable_pairs(pairs, match, encode_bare), len(pairs)
    needs = max(settings["shots"], settings["dummy_queries"]) + 1
    if len(pairs) < needs:
        raise OffcourseError(
            f"too few words for task vectors of task {settings['task']}: {needs} pairs are needed, and of {found} this "
            f"tokenizer has {len(pairs)} whose answer is a single token. Use a longer list, or leave the task or the "
            "model out of task vectors (task_vectors.tasks, task_vectors.models)."
        )
    rows = [
        _row(kind, index, demos, query, settings["task"], encode)
        for kind, index, demos, query in _prompts(pairs, settings)
    ]
    return PROMPTS.validate(pd.DataFrame(rows, columns=list(PROMPTS.columns)))


def _prompts(pairs: list[Pair], settings: Mapping[str, Any]) -> Iterator[tuple[str, int, list[Pair], Pair]]:
    for index in range(settings["baseline_items"]):
        query, _, _ = _dataset(pairs, settings, "tv_baseline", index)
        yield "tv_baseline", index, [], query
    for split in SPLITS:
        datasets = [_dataset(pairs, settings, f"tv_{split}", index) for index in range(settings[f"{split}_items"])]
        if split == "test":
            for index, (query, demos, _) in enumerate(datasets):
                yield "tv_icl", index, demos, query
        for index, (_, demos, dummies) in enumerate(datasets):
            for dummy in dummies:
                yield f"tv_{split}_dummy", index, demos, dummy
        for index, (query, _, _) in enumerate(datasets):
            yield f"tv_{split}_query", index, [], query


def _dataset(pairs: list[Pair], settings: Mapping[str, Any], role: str, index: int) -> tuple:
    """(query, demonstrations, dummy queries). Demonstrations and dummy queries never include the query."""
    rng = keyed_generator(SEED, settings["task"], role, index)
    chosen = int(rng.integers(len(pairs)))
    others = pairs[:chosen] + pairs[chosen + 1 :]
    demos, dummies = (
        [others[row] for row in rng.permutation(len(others))[: settings[count]]] for count in ("shots", "dummy_queries")
    )
    return pairs[chosen], demos, dummies


def _row(kind: str, index: int, demos: list[Pair], query: Pair, task: str, encode: Callable) -> tuple:
    text, target = prompt_text(demos, query[0]), query[1]
    what = f"task {task}, the answer {target!r} to {query[0]!r} in a prompt of task vectors"
    tokens, answer = prompt_and_answer(encode, text, target, what, ADVICE)
    return (kind, index, len(demos), text, tokens, len(tokens) - 1, answer[0], target)
