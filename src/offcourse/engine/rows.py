"""Rows: edited versions of a prompt's last token. A row joins the pass at the block where its edit happens."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from offcourse.engine.placed import Placed


@dataclass
class ResidualRows:
    """Rows whose residual stream is edited right after a block (paper Eq. 5).

    There is one row per layer and edit.
    vectors: [edits, width], or [layers, edits, width] if they differ by layer, or [prompts, layers, edits, width] if
    every prompt has its own. After the row's block, the vector is added to the last token's state (`replace=False`,
    function vectors) or replaces the state (`replace=True`, task vectors).
    """

    vectors: Tensor
    layers: int
    replace: bool = False

    def __post_init__(self):
        self._placed = Placed(self.vectors)

    def of_prompts(self, part: slice) -> "ResidualRows":
        """The rows of some of the prompts."""
        return dataclasses.replace(self, vectors=self.vectors[part]) if self.vectors.dim() == 4 else self

    def begins(self, layer: int) -> int:
        """Number of rows of a prompt that join at the input of block `layer`; `layers` stands for the final norm."""
        return self.vectors.shape[-2] if 1 <= layer <= self.layers else 0

    def states(self, layer: int, last: Tensor, part: slice) -> Tensor:
        """[prompts, rows, width]: states of the rows `part` that join at the input of block `layer`.

        last: [prompts, width], the state of each prompt's last token there.
        """
        vectors = self._placed.on(last.device, last.dtype)
        if vectors.dim() > 2:
            vectors = vectors[..., layer - 1, :, :]
        vectors = vectors[..., part, :].expand(len(last), -1, -1)
        return vectors if self.replace else last[:, None] + vectors

    def edit_heads(self, layer: int, heads: Tensor, part: slice) -> None:
        """Do nothing: the residual stream was edited when the row joined."""


@dataclass
class HeadRows:
    """Rows in which one head's output is replaced, one row per layer and head (causal indirect effect, Eq. 3).

    values: [layers, heads, head_dim], the replacements of the head's slice of the attention output projection's input.
    only: a layer, if only its heads are replaced; None for all layers.
    unedited: number of further rows per layer, after those of the heads, in which nothing is replaced. Such a row
    differs from the prompt's own last token by rounding alone.
    """

    values: Tensor
    only: int | None = None
    unedited: int = 0

    def __post_init__(self):
        self._placed = Placed(self.values)

    def of_prompts(self, part: slice) -> "HeadRows":
        """The rows of some of the prompts: all prompts have the same."""
        return self

    def begins(self, layer: int) -> int:
        """Number of rows of a prompt that join at the input of block `layer`."""
        wanted = layer < self.values.shape[0] and self.only in (None, layer)
        return self.values.shape[1] + self.unedited if wanted else 0

    def states(self, layer: int, last: Tensor, part: slice) -> Tensor:
        """[prompts, rows, width]: unedited copies of `last` [prompts, width]; `edit_heads` edits them in the block."""
        return last[:, None].expand(-1, part.stop - part.start, -1)

    def edit_heads(self, layer: int, heads: Tensor, part: slice) -> None:
        """Replace head `part.start + i` of row i of each prompt in place.

        heads: [prompts, rows, heads, head_dim].
        """
        part = slice(part.start, max(part.start, min(part.stop, self.values.shape[1])))
        index = torch.arange(part.start, part.stop, device=heads.device)
        rows = torch.arange(len(index), device=heads.device)
        # Where heads differ in size from layer to layer, the values of smaller ones end in zeros.
        values = self._placed.on(heads.device, heads.dtype)
        heads[:, rows, index] = values[layer, part, : heads.shape[3]]


Rows = ResidualRows | HeadRows


@dataclass(frozen=True)
class Piece:
    """A slice (`part`) of the rows that join at the input of block `layer`."""

    layer: int
    part: slice

    def __len__(self) -> int:
        return self.part.stop - self.part.start


def batches(prompts: Sequence[Sequence[int]], rows: Rows, layers: int, budget: int) -> Iterator[slice]:
    """Cut the list of prompts into batches whose rows go through the model together, at most `budget` rows and tokens.

    A prompt is filled up to the longest of its batch, and counts with that length. A prompt with more rows than the
    budget is alone; its rows take several passes.
    """
    count = sum(rows.begins(layer) for layer in range(layers + 1))
    start = longest = 0
    for index, prompt in enumerate(prompts):
        longest = max(longest, len(prompt))
        if index > start and (index - start + 1) * (count + longest) > budget:
            yield slice(start, index)
            start, longest = index, len(prompt)
    if prompts:
        yield slice(start, len(prompts))


def split(rows: Rows, layers: int, budget: int) -> list[list[Piece]]:
    """Cut all rows of a prompt, in the order of layers, into chunks (lists of pieces) of at most `budget` rows."""
    chunks: list[list[Piece]] = [[]]
    room = budget
    for layer in range(layers + 1):
        done, count = 0, rows.begins(layer)
        while done < count:
            if room == 0:
                chunks.append([])
                room = budget
            take = min(room, count - done)
            chunks[-1].append(Piece(layer, slice(done, done + take)))
            done += take
            room -= take
    return chunks
