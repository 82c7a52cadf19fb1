"""Prefix trees of prompts, against their definition."""

from hypothesis import given
from hypothesis import strategies as st

from offcourse.engine.forest import Forest, forests
from offcourse.engine.rows import ResidualRows, split

PROMPTS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=6)


@given(PROMPTS)
def test_a_forest_holds_every_prompt_and_each_beginning_once(prompts):
    forest = Forest(prompts)
    assert [[int(forest.tokens[node]) for node in path] for path in forest.where] == prompts
    beginnings = {tuple(prompt[: i + 1]) for prompt in prompts for i in range(len(prompt))}
    assert len(forest) == len(beginnings)
    for path in forest.where:
        assert [int(forest.depth[node]) for node in path] == list(range(len(path)))
        if forest.ancestors is None:
            assert path == list(range(len(path)))
        else:
            for node in path:
                seen = [int(i) for i in forest.ancestors[node].nonzero()]
                assert seen == path[: path.index(node) + 1]


@given(PROMPTS, st.integers(1, 20))
def test_cutting_keeps_every_prompt_in_order(prompts, budget):
    parts = list(forests(prompts, budget))
    assert [i for part, _ in parts for i in range(part.start, part.stop)] == list(range(len(prompts)))
    for part, forest in parts:
        assert len(forest) <= budget or part.stop - part.start == 1
        assert len(forest.where) == part.stop - part.start


@given(st.integers(1, 7), st.integers(1, 5), st.integers(1, 50))
def test_chunks_hold_every_row_once_in_order(edits, layers, budget):
    import torch

    rows = ResidualRows(torch.zeros(edits, 2), layers)
    chunks = split(rows, layers, budget)
    found = [(piece.layer, i) for chunk in chunks for piece in chunk for i in range(piece.part.start, piece.part.stop)]
    assert found == [(layer, i) for layer in range(1, layers + 1) for i in range(edits)]
    assert all(sum(map(len, chunk)) <= budget for chunk in chunks)
