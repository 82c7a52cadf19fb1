"""Forests: several prompts laid out on one sequence axis so that every shared beginning is computed once."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


class Forest:
    """A prefix tree of token sequences, laid out on one sequence axis.

    tokens: [nodes] token ids. depth: [nodes] position in the prompt. where: per prompt, the nodes of its tokens in
    order.
    ancestors: [nodes, nodes] bool; [i, j] is True if token j precedes or is token i in a prompt.
    apart: prompts share no node, not even where they begin alike.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], apart: bool = False):
        children: dict[tuple[int, int], int] = {}
        parents, tokens, self.where = [], [], []
        for number, prompt in enumerate(prompts):
            # Roots are negative; prompts that share no node have a root each.
            node, path = -1 - number * apart, []
            for token in prompt:
                step = (node, int(token))
                if step not in children:
                    children[step] = len(tokens)
                    parents.append(node)
                    tokens.append(int(token))
                node = children[step]
                path.append(node)
            self.where.append(path)
        self.tokens = torch.tensor(tokens)
        self.depth = torch.tensor(_depths(parents))
        self._parents = parents

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def ancestors(self) -> Tensor | None:
        """The mask, or None when the forest is a single chain (plain causal attention)."""
        if self._parents == list(range(-1, len(self) - 1)):
            return None
        mask = torch.zeros(len(self), len(self), dtype=torch.bool)
        for path in map(torch.tensor, self.where):
            # A token's ancestors are the tokens of its prompt up to itself.
            mask[path[:, None], path] |= torch.ones(len(path), len(path), dtype=torch.bool).tril()
        return mask


def _depths(parents: Sequence[int]) -> list[int]:
    depths: list[int] = []
    for parent in parents:
        depths.append(0 if parent < 0 else depths[parent] + 1)
    return depths


def shared_beginning(prompts: Sequence[Sequence[int]], most: int) -> int:
    """Length of the beginning that all prompts share, at most `most` tokens."""
    first = prompts[0]
    length = min([most, *map(len, prompts)])
    for prompt in prompts:
        length = next((i for i in range(length) if prompt[i] != first[i]), length)
    return length


def forests(prompts: Sequence[Sequence[int]], budget: int) -> Iterator[tuple[slice, Forest]]:
    """(slice of prompts, their forest), in the order of the prompts; see `cuts`."""
    return ((part, Forest(prompts[part])) for part in cuts(prompts, budget))


def cuts(prompts: Sequence[Sequence[int]], budget: int, apart: bool = False) -> Iterator[slice]:
    """Cut the list of prompts where forests have at most about `budget` tokens; a longer prompt is alone in its forest.

    Yields the slices in the order of the prompts. apart: prompts share no node.
    """
    start, size = 0, 0
    previous: Sequence[int] = ()
    for index, prompt in enumerate(prompts):
        shared = 0 if apart else shared_beginning([prompt, previous], len(prompt))
        if index > start and size + len(prompt) - shared > budget:
            yield slice(start, index)
            start, size, shared = index, 0, 0
        size += len(prompt) - shared
        previous = prompt
    if start < len(prompts):
        yield slice(start, len(prompts))
