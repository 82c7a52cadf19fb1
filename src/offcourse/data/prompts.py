"""Every prompt of the function-vector study of one task, as text and token ids (paper section 4 and appendix B).

A prompt with k shots is k times "Q: <input>", newline, "A: <output>", two newlines, then "Q: <query>", newline, "A:".
There is no instruction, and a BOS token only where the tokenizer adds one. The answer is " <output>"; the target is its
first token. Words are drawn as the released code draws them (`sampling: global`) or each from its own key (`keyed`).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from offcourse.data.draws import keyed_generator
from offcourse.data.targets import prompt_and_answer
from offcourse.data.tasks import split_sizes
from offcourse.errors import OffcourseError
from offcourse.schemas.prompts import PROMPTS

# Further draws of build prompts (`build_draws`) have the seeds after BUILD_SEED, on the same split.
BUILD_SEED, EVALUATION_SEED = 42, 0
HELD_OUT = 0.3

ADVICE = "Remove this pair from the word list, or leave the task or the model out of the study."

Pair = tuple[str, str]


@dataclass(frozen=True)
class Split:
    """train: demonstrations; valid: queries of the build prompts; test: evaluated items, in order."""

    train: list[Pair]
    valid: list[Pair]
    test: list[Pair]


class Prompt(NamedTuple):
    """A prompt before it is tokenized."""

    kind: str
    index: int
    demos: list[Pair]
    query: Pair


def split_pairs(pairs: list[Pair], seed: int) -> Split:
    """70 % train, 21 % test, 9 % valid: scikit-learn's split, and again on the held-out part with the same seed."""
    # Takes 0.7 s to import, and every start of the workflow imports this module.
    from sklearn.model_selection import train_test_split

    train, held_out = train_test_split(pairs, test_size=HELD_OUT, random_state=seed)
    test, valid = train_test_split(held_out, test_size=HELD_OUT, random_state=seed)
    return Split(train, valid, test)


def disjoint_split(pairs: list[Pair], seed: int) -> Split:
    """`split_pairs` without the train and valid rows that hold an input of the test part as input or as output.

    Lists may repeat inputs and hold a pair in both directions, so disjoint rows are not disjoint words. Upper and lower
    case count as the same word. All of the test part counts, not only the evaluated items, so that evaluating more of
    them changes no prompt.
    """
    split = split_pairs(pairs, seed)
    evaluated = {_word(query) for query, _ in split.test}
    kept = [[pair for pair in part if not evaluated & set(map(_word, pair))] for part in (split.train, split.valid)]
    return Split(*kept, split.test)


def _word(text: str) -> str:
    return text.strip().casefold()


def prompt_text(demos: list[Pair], query: str) -> str:
    """The prompt up to and including the final "A:"."""
    shots = "".join(f"Q: {word}\nA: {answer}\n\n" for word, answer in demos)
    return f"{shots}Q: {query}\nA:"


def build_prompts(
    pairs: list[Pair], settings: Mapping[str, Any], encode: Callable[[str], list[int]], adds_bos: bool
) -> pd.DataFrame:
    """All prompts of one task for one tokenizer, a table of schema `PROMPTS`.

    pairs: the word list in file order. encode: text to token ids, with whatever special tokens the tokenizer adds by
    itself; `adds_bos` says whether it adds a BOS token in front.
    settings: `task` (name), `shots`, `trials`, `test_items`, `build_draws` and the protocol's `splits`, `sampling` and
    `head_read_position`.

    Rows, in this order:
    head_mean, index = trial: `shots` true demonstrations; `read_position` is where the input of the attention output
        projection is averaged over trials.
    cie, index = trial: the same with the demonstrations' outputs permuted among themselves.
    icl, index = item, for 0 .. `shots` shots: the baselines.
    query, index = item: the 0-shot prompt that a vector is added to, equal to the item's icl prompt of 0 shots.
    head_mean_again and cie_again, index = (draw - 1) * `trials` + trial: the prompts of head_mean and cie drawn again,
        for every draw from 1 to `build_draws` - 1.
    `read_position` is the last token except in head_mean and head_mean_again; `target` is the answer string, so that
    `text + target` is what was tokenised to find `target_id`. There are min(test_items, test part) items.

    Raises `OffcourseError` when the list is too short, and for an answer without a token behind its prompt.
    """
    if min(split_sizes(len(pairs))) < 1:
        raise _too_few(settings, "the three parts of the split", 4, len(pairs))
    build, evaluation = _splits(pairs, settings["splits"])
    for part, need, rows in (
        ("demonstrations", settings["shots"], min(len(build.train), len(evaluation.train))),
        ("queries of build prompts", 1, len(build.valid)),
        ("evaluated items", 1, len(evaluation.test)),
    ):
        if rows < need:
            raise _too_few(settings, part, need, rows)
    draw_build, draw_evaluation = {
        "global": (_build_global, _evaluation_global),
        "keyed": (_build_keyed, _evaluation_keyed),
    }[settings["sampling"]]
    prompts = [*draw_build(build, settings, BUILD_SEED), *draw_evaluation(evaluation, settings)]
    for again in range(1, settings.get("build_draws", 1)):
        for prompt in draw_build(build, settings, BUILD_SEED + again):
            index = (again - 1) * settings["trials"] + prompt.index
            prompts.append(prompt._replace(kind=f"{prompt.kind}_again", index=index))
    encode = lru_cache(maxsize=None)(encode)
    rows = [_row(prompt, settings, encode, adds_bos) for prompt in prompts]
    return PROMPTS.validate(pd.DataFrame(rows, columns=list(PROMPTS.columns)))


def _splits(pairs: list[Pair], splits: str) -> tuple[Split, Split]:
    """The split that vectors are built on and the one they are evaluated on."""
    if splits == "disjoint":
        split = disjoint_split(pairs, BUILD_SEED)
        return split, split
    return split_pairs(pairs, BUILD_SEED), split_pairs(pairs, EVALUATION_SEED)


def unevaluated(pairs: list[Pair], splits: str) -> list[Pair]:
    """Train pairs of the evaluation's split without a word that it evaluates, whatever `splits` the study has."""
    return disjoint_split(pairs, BUILD_SEED if splits == "disjoint" else EVALUATION_SEED).train


def _build_global(build: Split, settings: Mapping[str, Any], seed: int) -> Iterator[Prompt]:
    """The build prompts as the released code draws them, in its order, from one legacy generator of numpy (seed 42).

    For each head_mean trial, the train rows and then the valid row; after all of these, for each cie trial the train
    rows, the valid row, and the permutation of the demonstrations' outputs. Drawing k of n without replacement permutes
    all n and keeps the first k, so what a draw consumes depends on n and not on k.
    """
    shots, rng = settings["shots"], np.random.RandomState(seed)
    for kind in ("head_mean", "cie"):
        for trial in range(settings["trials"]):
            demos = _pick(build.train, rng.choice(len(build.train), shots, replace=False))
            query = build.valid[rng.choice(len(build.valid), 1, replace=False)[0]]
            if kind == "cie":
                demos = _permuted(demos, rng)
            yield Prompt(kind, trial, demos, query)


def _evaluation_global(evaluation: Split, settings: Mapping[str, Any]) -> Iterator[Prompt]:
    """The evaluated prompts as the released code draws them.

    For each number of shots a generator of seed 0 starts anew and gives every item its train rows, in item order; none
    are drawn for 0 shots. So an item's k demonstrations are the first k of its k + 1.
    """
    items = evaluation.test[: settings["test_items"]]
    for n in range(settings["shots"] + 1):
        rng = np.random.RandomState(EVALUATION_SEED)
        for item, query in enumerate(items):
            demos = _pick(evaluation.train, rng.choice(len(evaluation.train), n, replace=False)) if n else []
            yield Prompt("icl", item, demos, query)
    for item, query in enumerate(items):
        yield Prompt("query", item, [], query)


def _build_keyed(build: Split, settings: Mapping[str, Any], seed: int) -> Iterator[Prompt]:
    """Each build prompt from a generator of its own, keyed by (seed, task, role, trial): independent of all others."""
    shots = settings["shots"]
    for role in ("head_mean", "cie"):
        for trial in range(settings["trials"]):
            rng = keyed_generator(seed, settings["task"], role, trial)
            demos = _pick(build.train, rng.permutation(len(build.train))[:shots])
            query = build.valid[rng.integers(len(build.valid))]
            yield Prompt(role, trial, _permuted(demos, rng) if role == "cie" else demos, query)


def _evaluation_keyed(evaluation: Split, settings: Mapping[str, Any]) -> Iterator[Prompt]:
    """The evaluated prompts, each item's demonstrations keyed by (seed, task, "icl", item).

    An item's k demonstrations are the first k of its k + 1, since all are taken from one permutation.
    """
    items = evaluation.test[: settings["test_items"]]
    orders = [
        keyed_generator(EVALUATION_SEED, settings["task"], "icl", item).permutation(len(evaluation.train))
        for item in range(len(items))
    ]
    for n in range(settings["shots"] + 1):
        for item, query in enumerate(items):
            yield Prompt("icl", item, _pick(evaluation.train, orders[item][:n]), query)
    for item, query in enumerate(items):
        yield Prompt("query", item, [], query)


def _pick(pairs: list[Pair], rows: np.ndarray) -> list[Pair]:
    return [pairs[row] for row in rows]


def _permuted(demos: list[Pair], rng: np.random.RandomState | np.random.Generator) -> list[Pair]:
    """The demonstrations with their outputs permuted among themselves."""
    return [(word, demos[other][1]) for (word, _), other in zip(demos, rng.permutation(len(demos)), strict=True)]


def _row(prompt: Prompt, settings: Mapping[str, Any], encode: Callable, adds_bos: bool) -> tuple:
    text, target = prompt_text(prompt.demos, prompt.query[0]), f" {prompt.query[1]}"
    what = f"task {settings['task']}, the answer {target!r} to {prompt.query[0]!r}"
    tokens, answer = prompt_and_answer(encode, text, target, what, ADVICE)
    read_position = len(tokens) - 1
    if prompt.kind.startswith("head_mean") and reads_early(settings["head_read_position"], adds_bos):
        read_position -= 1
    return (
        prompt.kind,
        prompt.index,
        len(prompt.demos),
        text,
        tokens,
        read_position,
        answer[0],
        target,
    )


def reads_early(position: str, adds_bos: bool) -> bool:
    """Whether heads are read at the second-to-last token under a value of `head_read_position`.

    adds_bos: whether the tokenizer adds a BOS token in front. The released code labels tokens without it but reads them
    with it: everything is one to the left.
    """
    return position == "one_early" or (position == "as_coded" and adds_bos)


def _too_few(settings: Mapping[str, Any], part: str, needs: int, has: int) -> OffcourseError:
    fewer = part == "demonstrations" and has
    advice = "Lower function_vectors.shots or use a longer list" if fewer else "Use a longer list"
    return OffcourseError(
        f"too few words for task {settings['task']} with {settings['shots']} shots and splits: {settings['splits']}: "
        f"{part} need {needs}, the word list leaves {has}. {advice}."
    )
