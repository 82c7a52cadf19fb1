"""Rows: edited versions of a prompt's last token. A row joins the pass at the block where its edit happens."""

from dataclasses import dataclass

import torch
from torch import Tensor

from offcourse.engine.placed import Placed


@dataclass
class ResidualRows:
    """Rows whose residual stream is edited right after a block (paper Eq. 5).

    There is one row per layer and edit.
    vectors: [edits, width], or [layers, edits, width] if they differ by layer. After the row's block, the vector is
    added to the last token's state (`replace=False`, function vectors) or replaces the state (`replace=True`, task
    vectors).
    """

    vectors: Tensor
    layers: int
    replace: bool = False

    def __post_init__(self):
        self._placed = Placed(self.vectors)

    def begins(self, layer: int) -> int:
        """Number of rows that join at the input of block `layer`; `layers` stands for the final norm."""
        return self.vectors.shape[-2] if 1 <= layer <= self.layers else 0

    def states(self, layer: int, last: Tensor, part: slice) -> Tensor:
        """[rows, width]: states of the rows `part` that join at the input of block `layer`, made from `last`."""
        vectors = self._placed.on(last.device, last.dtype)
        vectors = (vectors if vectors.dim() == 2 else vectors[layer - 1])[part]
        return vectors if self.replace else last + vectors

    def edit_heads(self, layer: int, heads: Tensor, part: slice) -> None:
        """Do nothing: the residual stream was edited when the row joined."""


@dataclass
class HeadRows:
    """Rows in which one head's output is replaced, one row per layer and head (causal indirect effect, Eq. 3).

    values: [layers, heads, head_dim], the replacements of the head's slice of the attention output projection's input.
    only: a layer, if only its heads are replaced; None for all layers.
    """

    values: Tensor
    only: int | None = None

    def __post_init__(self):
        self._placed = Placed(self.values)

    def begins(self, layer: int) -> int:
        """Number of rows that join at the input of block `layer`."""
        wanted = layer < self.values.shape[0] and self.only in (None, layer)
        return self.values.shape[1] if wanted else 0

    def states(self, layer: int, last: Tensor, part: slice) -> Tensor:
        """[rows, width]: unedited copies of `last`; `edit_heads` edits them inside the block."""
        return last.expand(part.stop - part.start, -1)

    def edit_heads(self, layer: int, heads: Tensor, part: slice) -> None:
        """Replace head `part.start + i` of row i in place; `heads` is [rows, heads, head_dim]."""
        index = torch.arange(part.start, part.stop, device=heads.device)
        rows = torch.arange(len(index), device=heads.device)
        heads[rows, index] = self._placed.on(heads.device, heads.dtype)[layer, part]


Rows = ResidualRows | HeadRows


@dataclass(frozen=True)
class Piece:
    """A slice (`part`) of the rows that join at the input of block `layer`."""

    layer: int
    part: slice

    def __len__(self) -> int:
        return self.part.stop - self.part.start


def split(rows: Rows, layers: int, budget: int) -> list[list[Piece]]:
    """Cut all rows, in the order of layers, into chunks (lists of pieces) of at most `budget` rows."""
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
