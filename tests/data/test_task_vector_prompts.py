"""Prompts of task vectors: strings, filter, and draws that depend on nothing but their own key."""

import re

import pytest
from marks import needs_mirror

from offcourse.data.registry import Registry
from offcourse.data.task_vector_prompts import build_task_vector_prompts, prompt_text, usable_pairs
from offcourse.data.tasks import load_pairs
from offcourse.errors import OffcourseError

REGISTRY = Registry.load()
SETTINGS = {
    "task": "antonym",
    "shots": 3,
    "dummy_queries": 2,
    "dev_items": 4,
    "test_items": 5,
    "baseline_items": 6,
}
PAIRS = [(f"in{i}", f"out{i}") for i in range(12)]
GOLDEN = [
    "example:in4->",
    "example:in4->out4\nexample:in5->out5\nexample:in6->out6\nexample:in8->",
    "example:in9->out9\nexample:in6->out6\nexample:in2->out2\nexample:in6->",
]
# The authors' lists and their sizes before any filter (method of the released code).
RELEASE = {
    "antonym": 162,
    "present-past": 1005,
    "country-capital": 139,
    "english-french": 739,
    "english-spanish": 719,
    "english-italian": 757,
    "french-english": 772,
    "spanish-english": 763,
    "italian-english": 758,
}


def pieces(text: str) -> list[int]:
    """Words with their leading space, and single signs; an id is the number of the piece's letters and signs."""
    return [int.from_bytes(piece.encode(), "big") % 100_003 + 2 for piece in re.findall(r" ?\w+|\s|[^\w\s]", text)]


def build(pairs=PAIRS, match="exact", **changes):
    return build_task_vector_prompts(pairs, SETTINGS | changes, match, lambda text: [1, *pieces(text)], pieces)


def rows(frame, kind):
    return frame[frame["kind"] == kind].to_dict("records")


def test_the_text_is_that_of_the_released_code():
    assert prompt_text([("big", "small"), ("a", "b")], "hot") == "example:big->small\nexample:a->b\nexample:hot->"


def test_pairs_are_kept_whose_answer_is_one_token_with_a_space_where_enough_are():
    tokens = {"!one": 2, "!two": 2, "! one": 2, "!three": 3, "! two": 3, "! three": 3}
    pairs = [("1", "one"), ("2", "two"), ("3", "three")]
    assert usable_pairs(pairs, "exact", lambda text: [0] * tokens[text]) == [("1", "one"), ("2", "two")]
    tokens["! two"] = 2
    assert usable_pairs(pairs, "synonym", lambda text: [0] * tokens[text]) == [(" 1", " one"), (" 2", " two")]
    assert usable_pairs(pairs, "prefix", lambda text: [0] * 9) == pairs


def test_spaces_need_seven_of_ten():
    pairs = [(str(i), str(i)) for i in range(10)]

    def encode(spaced):
        return lambda text: [0] * (3 if text.startswith("! ") and int(text[2:]) >= spaced else 2)

    assert usable_pairs(pairs, "exact", encode(7)) == [(f" {i}", f" {i}") for i in range(7)]
    assert usable_pairs(pairs, "exact", encode(6)) == pairs


def test_every_dataset_has_its_prompts():
    frame = build(match="prefix")
    assert frame["kind"].value_counts().to_dict() == {
        "tv_baseline": 6,
        "tv_icl": 5,
        "tv_test_dummy": 10,
        "tv_test_query": 5,
        "tv_dev_dummy": 8,
        "tv_dev_query": 4,
    }
    assert list(frame["read_position"]) == [len(ids) - 1 for ids in frame["token_ids"]]
    for icl, query in zip(rows(frame, "tv_icl"), rows(frame, "tv_test_query"), strict=True):
        assert icl["text"].endswith(query["text"]) and query["text"].count("example:") == 1
        assert icl["text"].count("example:") == SETTINGS["shots"] + 1
        demos = icl["text"].removesuffix(query["text"])
        assert query["text"] not in demos
        word = query["text"].removeprefix("example:").removesuffix("->")
        assert dict(PAIRS)[word] == query["target"] == icl["target"]
        dummies = [row for row in rows(frame, "tv_test_dummy") if row["index"] == query["index"]]
        assert len({row["text"] for row in dummies}) == 2
        for dummy in dummies:
            assert dummy["text"].startswith(demos) and not dummy["text"].endswith(query["text"])
            assert dummy["text"].removeprefix(demos).count("example:") == 1


def test_a_dataset_depends_on_its_own_key_alone():
    few, many = build(), build(test_items=9, dev_items=7, baseline_items=1)
    for kind, count in (("tv_test_dummy", 10), ("tv_dev_query", 4), ("tv_icl", 5)):
        assert rows(many, kind)[:count][0]["text"] == rows(few, kind)[0]["text"]
        assert [row["text"] for row in rows(many, kind)][:count] == [row["text"] for row in rows(few, kind)]
    other = build(task="present-past")
    assert [row["text"] for row in rows(other, "tv_icl")] != [row["text"] for row in rows(few, "tv_icl")]


def test_golden_draws():
    """Written down once: a change of the key or of the generator would change every vector."""
    frame = build(match="prefix")
    assert [rows(frame, kind)[0]["text"] for kind in ("tv_baseline", "tv_icl", "tv_dev_dummy")] == GOLDEN


def test_too_few_usable_pairs_are_named():
    with pytest.raises(OffcourseError, match="too few words for task vectors of task antonym: 4 pairs .* has 3"):
        build(PAIRS[:3])


@needs_mirror
def test_the_authors_lists_have_their_sizes(tmp_path):
    sizes = {
        name: len(load_pairs(REGISTRY.task(name), "release", downloads=tmp_path, method="task_vectors"))
        for name in RELEASE
    }
    assert sizes == RELEASE


def test_a_task_without_a_list_for_task_vectors_says_so(tmp_path):
    with pytest.raises(OffcourseError, match="no word list for task vectors of task german-english"):
        load_pairs(REGISTRY.task("german-english"), "release", downloads=tmp_path, method="task_vectors")
