"""Prompts: the strings, splits and draws of the released code, and what the corrected switches guarantee."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marks import needs_mirror
from sklearn.model_selection import train_test_split

from offcourse.data.prompts import build_prompts, disjoint_split, split_pairs
from offcourse.data.registry import Registry
from offcourse.data.tasks import load_pairs, split_sizes
from offcourse.errors import OffcourseError
from offcourse.schemas.io import read_parquet, write_parquet
from offcourse.schemas.prompts import PROMPTS

GOLDEN = Path(__file__).parents[1] / "golden"
REGISTRY = Registry.load()
PAIRS = load_pairs(REGISTRY.task("antonym"), "embedded")
PUBLISHED = {"splits": "overlapping", "sampling": "global", "head_read_position": "as_coded"}
CORRECTED = {"splits": "disjoint", "sampling": "keyed", "head_read_position": "last"}
SMALL = {"task": "antonym", "shots": 3, "trials": 4, "test_items": 5}
BOS = 1

# Train, valid and test part of the released lists, and how many evaluated pairs lie in the build train part.
RELEASE = {
    "antonym": (1678, 216, 504, 32),
    "english-french": (3288, 423, 987, 35),
    "french-english": (3288, 423, 987, 35),
    "english-german": (3601, 464, 1080, 38),
    "german-english": (3601, 464, 1080, 38),
    "english-spanish": (3639, 468, 1092, 29),
    "spanish-english": (3639, 468, 1092, 29),
    "present-past": (205, 27, 61, 33),
    "country-capital": (137, 18, 42, 25),
}


class Toy:
    """A tokenizer that splits text into words with their leading space, and single signs; ids in order of arrival."""

    def __init__(self, adds_bos: bool):
        self.adds_bos, self.ids = adds_bos, {"<bos>": BOS}

    def __call__(self, text: str) -> list[int]:
        pieces = re.findall(r" ?\w+|\s|[^\w\s]", text)
        return [BOS] * self.adds_bos + [self.ids.setdefault(piece, len(self.ids) + 1) for piece in pieces]

    def decode(self, token: int) -> str:
        return next(piece for piece, number in self.ids.items() if number == token)


def prompts(pairs=PAIRS, adds_bos=False, **changes) -> pd.DataFrame:
    return build_prompts(pairs, {**SMALL, **PUBLISHED, **changes}, Toy(adds_bos), adds_bos)


def demos(text: str) -> list[tuple[str, str]]:
    """The demonstrations of a prompt, from its text."""
    return re.findall(r"Q: (.*)\nA: (.*)\n\n", text)


def query(text: str) -> str:
    return re.search(r"Q: ([^\n]*)\nA:$", text)[1]


# ------------------------------------------------------------------------------------------------- strings and tokens


@pytest.mark.parametrize("protocol", ["as_published", "corrected"])
@pytest.mark.parametrize("adds_bos", [False, True])
def test_golden_prompts(protocol, adds_bos):
    """One prompt of each kind, in full, with the token that is read and the token that is wanted.

    The words are a fixed copy, so that the golden texts change with the procedure and not with a word list.
    """
    toy = Toy(adds_bos)
    words = [tuple(line.split("\t")) for line in (GOLDEN / "words.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    switches = PUBLISHED if protocol == "as_published" else CORRECTED
    frame = build_prompts(words, {**SMALL, **switches}, toy, adds_bos)
    shown = []
    for row in frame.groupby(["kind", "shots"], sort=False).nth(1).itertuples():
        read, target = (toy.decode(token) for token in (row.token_ids[row.read_position], row.target_id))
        shown.append(
            f"--- {row.kind} {row.index}, {row.shots} shots, {len(row.token_ids)} tokens\n{row.text}\n"
            f"[reads {read!r} at {row.read_position}, wants {target!r} of {row.target!r}]\n"
        )
    golden = GOLDEN / f"antonym-{protocol}-{'bos' if adds_bos else 'no-bos'}.txt"
    assert "".join(shown) == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("adds_bos", "position", "token"),
    [
        (True, "as_coded", "A"),
        (True, "last", ":"),
        (True, "one_early", "A"),
        (False, "as_coded", ":"),
        (False, "last", ":"),
        (False, "one_early", "A"),
    ],
)
def test_where_heads_are_read(adds_bos, position, token):
    toy = Toy(adds_bos)
    frame = build_prompts(PAIRS, {**SMALL, **PUBLISHED, "head_read_position": position}, toy, adds_bos)
    for row in frame.itertuples():
        read = toy.decode(row.token_ids[row.read_position])
        assert read == (token if row.kind == "head_mean" else ":")
        assert (row.token_ids[0] == BOS) == adds_bos


@pytest.mark.parametrize("switches", [PUBLISHED, CORRECTED], ids=["global", "keyed"])
def test_build_prompts_drawn_again_change_no_other_and_stay_out_of_the_evaluated_words(switches):
    once, thrice = prompts(**switches), prompts(**switches, build_draws=3)
    again = thrice[thrice["kind"].str.endswith("_again")]
    pd.testing.assert_frame_equal(thrice.drop(index=again.index).reset_index(drop=True), once)
    assert again.groupby("kind")["index"].apply(list).to_dict() == {
        "cie_again": list(range(8)), "head_mean_again": list(range(8)),
    }  # fmt: skip
    assert again["text"].nunique() == len(again) and not set(again["text"]) & set(once["text"])
    bos = prompts(adds_bos=True, **switches | {"head_read_position": "as_coded"}, build_draws=2)
    bos = bos.assign(before_end=bos["token_ids"].map(len) - bos["read_position"])
    assert bos.groupby("kind")["before_end"].unique().map(list).to_dict() == {
        "head_mean": [2], "head_mean_again": [2], "cie": [1], "cie_again": [1], "icl": [1], "query": [1],
    }  # fmt: skip
    if switches is CORRECTED:
        evaluated = {text.splitlines()[0] for text in once[once["kind"] == "query"]["text"]}
        assert not any(line in evaluated for text in again["text"] for line in text.splitlines())


def test_the_table_is_complete_and_valid(tmp_path):
    frame = prompts()
    assert frame.kind.value_counts(sort=False).to_dict() == {"head_mean": 4, "cie": 4, "icl": 4 * 5, "query": 5}
    for kind in ("head_mean", "cie"):
        assert frame[frame.kind == kind]["index"].tolist() == [0, 1, 2, 3] and set(frame[frame.kind == kind].shots) == {
            3
        }
    icl = frame[frame.kind == "icl"]
    assert list(zip(icl.shots, icl["index"], strict=True)) == [(n, item) for n in range(4) for item in range(5)]
    zero, queries = icl[icl.shots == 0], frame[frame.kind == "query"]
    for column in set(frame.columns) - {"kind"}:
        assert zero[column].tolist() == queries[column].tolist()
    write_parquet(tmp_path / "prompts.parquet", frame, PROMPTS)
    back = read_parquet(tmp_path / "prompts.parquet", PROMPTS)
    assert [list(ids) for ids in back.token_ids] == frame.token_ids.tolist()


def test_the_target_is_the_first_token_after_the_prompt():
    toy = Toy(True)
    pairs = [(word, f"{answer} and more") for word, answer in PAIRS]
    for row in build_prompts(pairs, {**SMALL, **PUBLISHED}, toy, True).itertuples():
        assert toy.decode(row.target_id) == row.target.removesuffix(" and more")
        assert row.target == " " + dict(pairs)[query(row.text)]


def test_an_answer_without_a_token_is_named():
    def merging(text: str) -> list[int]:
        return [ord(sign) for sign in text.split("A:")[0]] + [5] * text.count("A:")

    with pytest.raises(OffcourseError, match=r"task antonym, the answer ' .*: the tokenizer has no token of its own"):
        build_prompts(PAIRS, {**SMALL, **PUBLISHED}, merging, False)


def test_a_text_is_encoded_once():
    seen = []

    def encode(text: str) -> list[int]:
        seen.append(text)
        return [ord(sign) for sign in text]

    build_prompts(PAIRS, {**SMALL, **PUBLISHED}, encode, False)
    assert len(seen) == len(set(seen))


# ------------------------------------------------------------------------------------------------- splits


@given(st.integers(2, 6000))
@settings(deadline=None)
def test_split_sizes_are_scikit_learns(rows):
    train, held_out = (len(part) for part in train_test_split(range(rows), test_size=0.3, random_state=0))
    assert split_sizes(rows) == (train, math.ceil(0.3 * held_out), held_out - math.ceil(0.3 * held_out))


@needs_mirror
@pytest.mark.parametrize("name", RELEASE)
def test_release_splits_and_leak(name, release_downloads):
    """The sizes of the released study, and the evaluated pairs that its build prompts could see."""
    pairs = load_pairs(REGISTRY.task(name), "release", downloads=release_downloads)
    build, evaluation = split_pairs(pairs, 42), split_pairs(pairs, 0)
    assert tuple(map(len, (build.train, build.valid, build.test))) == RELEASE[name][:3]
    evaluated = evaluation.test[:50]
    assert sum(pair in set(build.train) for pair in evaluated) == RELEASE[name][3]
    assert len(evaluated) == (42 if name == "country-capital" else 50)


@pytest.fixture(scope="module")
def release_downloads(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@needs_mirror
@pytest.mark.parametrize("name", ["french-english", "antonym"])
def test_a_disjoint_split_of_a_list_with_repeats(name, release_downloads):
    pairs = load_pairs(REGISTRY.task(name), "release", downloads=release_downloads)
    changes = {"task": name, "shots": 10, "trials": 25, "test_items": 50}
    plain = leaks(prompts(pairs, **changes, **{**CORRECTED, "splits": "overlapping"}))
    assert plain and not leaks(prompts(pairs, **changes, **CORRECTED))


def leaks(frame: pd.DataFrame) -> set[str]:
    """Evaluated inputs that occur in a build prompt or in a demonstration."""
    evaluated = {query(text).casefold() for text in frame[frame.kind == "query"].text}
    seen = set()
    for row in frame.itertuples():
        seen |= {word.casefold() for pair in demos(row.text) for word in pair}
        if row.kind in ("head_mean", "cie"):
            seen.add(query(row.text).casefold())
    return evaluated & seen


WORDS = st.text("abAB", min_size=1, max_size=2)  # few words: many repeats and reversals


@given(st.lists(st.tuples(WORDS, WORDS), min_size=30, max_size=60), st.sampled_from(["global", "keyed"]))
@settings(deadline=None, max_examples=30)
def test_disjoint_means_no_evaluated_word_is_ever_seen(pairs, sampling):
    try:
        frame = prompts(pairs, splits="disjoint", sampling=sampling, shots=1, trials=5, test_items=9)
    except OffcourseError as error:
        assert "too few words" in str(error)
    else:
        assert not leaks(frame)


def test_overlapping_splits_do_leak():
    assert leaks(prompts(trials=25, test_items=50, shots=10))


def test_a_disjoint_split_keeps_the_test_part_whole():
    pairs = PAIRS + [(answer, word) for word, answer in PAIRS]
    assert disjoint_split(pairs, 42).test == split_pairs(pairs, 42).test
    assert len(disjoint_split(pairs, 42).train) < len(split_pairs(pairs, 42).train)


@pytest.mark.parametrize(
    ("pairs", "changes", "message"),
    [
        (PAIRS[:3], {"shots": 1}, "three parts of the split need 4, the word list leaves 3"),
        (PAIRS[:12], {"shots": 10}, "demonstrations need 10, the word list leaves 8"),
        ([(f"{i % 2}", f"x{i}") for i in range(40)], {"splits": "disjoint"}, "demonstrations need 3, .* leaves 0"),
    ],
)
def test_too_few_words_is_named(pairs, changes, message):
    with pytest.raises(OffcourseError, match="too few words for task antonym .*" + message):
        prompts(pairs, **changes)


# ------------------------------------------------------------------------------------------------- draws


def test_global_draws_are_those_of_the_released_loops():
    """The loops written out with numpy's global generator, which is what the released code draws from."""
    frame = prompts(trials=4, shots=3)
    pairs = pd.DataFrame(PAIRS, columns=["input", "output"])
    train, held_out = train_test_split(pairs, test_size=0.3, random_state=42)
    _, valid = train_test_split(held_out, test_size=0.3, random_state=42)
    state = np.random.get_state()
    try:
        np.random.seed(42)
        for kind in ("head_mean", "cie"):
            for text in frame[frame.kind == kind].text:
                rows = train.iloc[np.random.choice(len(train), 3, replace=False)].to_dict(orient="list")
                asked = valid.iloc[np.random.choice(np.arange(len(valid)), 1, replace=False)]
                if kind == "cie":
                    rows["output"] = np.random.permutation(rows["output"]).tolist()
                assert demos(text) == list(zip(rows["input"], rows["output"], strict=True))
                assert query(text) == asked["input"].item()
        train, held_out = train_test_split(pairs, test_size=0.3, random_state=0)
        test, _ = train_test_split(held_out, test_size=0.3, random_state=0)
        for n in range(4):
            np.random.seed(0)
            for item, text in enumerate(frame[(frame.kind == "icl") & (frame.shots == n)].text):
                rows = train.iloc[np.random.choice(len(train), n, replace=False)] if n else train.iloc[:0]
                assert demos(text) == list(rows.itertuples(index=False, name=None))
                assert query(text) == test.iloc[item]["input"]
    finally:
        np.random.set_state(state)


def test_the_global_generator_is_left_alone():
    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    prompts()
    assert np.random.rand() == expected


@pytest.mark.parametrize("protocol", [PUBLISHED, CORRECTED])
def test_an_items_demonstrations_are_nested(protocol):
    icl = prompts(shots=5, **protocol).query("kind == 'icl'")
    for _, item in icl.groupby("index"):
        shown = [demos(text) for text in item.sort_values("shots").text]
        assert [len(pairs) for pairs in shown] == [0, 1, 2, 3, 4, 5]
        assert all(more[:-1] == fewer for fewer, more in zip(shown, shown[1:], strict=False))


@pytest.mark.parametrize("protocol", [PUBLISHED, CORRECTED])
def test_cie_permutes_the_outputs_and_nothing_else(protocol):
    frame = prompts(shots=10, trials=5, **protocol)
    answers = dict(PAIRS)
    for text in frame[frame.kind == "cie"].text:
        shown = demos(text)
        assert sorted(answer for _, answer in shown) == sorted(answers[word] for word, _ in shown)
        assert shown != [(word, answers[word]) for word, _ in shown]
    for text in frame[frame.kind != "cie"].text:
        assert all(answers[word] == answer for word, answer in demos(text))


def by_key(frame: pd.DataFrame) -> dict:
    return {(row.kind, row.index, row.shots): row.text for row in frame.itertuples()}


@given(st.integers(1, 6), st.integers(0, 4), st.integers(1, 6), st.integers(0, 4))
@settings(max_examples=20, deadline=None)
def test_keyed_prompts_do_not_depend_on_how_many_there_are(trials, more_trials, items, more_items):
    few = by_key(prompts(trials=trials, test_items=items, **CORRECTED))
    many = by_key(prompts(trials=trials + more_trials, test_items=items + more_items, **CORRECTED))
    assert few.items() <= many.items()


def test_keyed_prompts_depend_on_task_role_and_index_only():
    frame, other = prompts(**CORRECTED), prompts(**CORRECTED, task="another")
    assert set(frame[frame.kind == "head_mean"].text).isdisjoint(other[other.kind == "head_mean"].text)
    words = [tuple(sorted(word for word, _ in demos(text))) for text in frame[frame.kind != "icl"].text]
    assert len(set(words[:8])) == 8  # head_mean and cie, 4 trials each, all different
    assert by_key(frame) == by_key(prompts(adds_bos=True, **CORRECTED))


def test_global_prompts_do_depend_on_how_many_there_are():
    few, many = by_key(prompts(trials=2)), by_key(prompts(trials=3))
    assert few["head_mean", 1, 3] == many["head_mean", 1, 3] and few["cie", 0, 3] != many["cie", 0, 3]


def test_there_are_no_more_items_than_test_words():
    frame = prompts(test_items=500)
    assert (frame.kind == "query").sum() == split_sizes(len(PAIRS))[2] == 63
