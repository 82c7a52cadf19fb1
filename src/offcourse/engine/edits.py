"""Edits of a forward pass: what they change, by which operation, in which layers and at which tokens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from offcourse.engine.rows import ResidualRows


def _project_out(state: Tensor, value: Tensor) -> Tensor:
    return state - (state * value).sum(-1, keepdim=True) * value


def _add_keeping_norm(state: Tensor, value: Tensor) -> Tensor:
    norm = state.norm(dim=-1, keepdim=True)
    turned = state / norm.clamp_min(torch.finfo(state.dtype).tiny) + value
    return norm * turned / turned.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(state.dtype).tiny)


# {operation: new state from (state, value)}. state: [..., tokens, numbers]; value broadcasts with it.
# project_out: the state without its component along a value of length 1; a value of length sqrt(s) takes away the share
# s of the component. add_keeping_norm: the value is added to the state divided by its length, and the sum is given the
# length that the state had.
OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda state, value: state + value,
    "replace": lambda state, value: value.expand_as(state),
    "project_out": _project_out,
    "scale": lambda state, value: state * value,
    "add_keeping_norm": _add_keeping_norm,
}

# {positions: which tokens are edited, from (position of a token, tokens of its prompt, tokens of the value)}.
# An answer's first token is predicted at the last token of the prompt, so this token counts as one of the answer.
POSITIONS: dict[str, Callable[[Tensor, int | Tensor, int], Tensor]] = {
    "last": lambda place, prompt, value: place == prompt - 1,
    "prompt": lambda place, prompt, value: place < prompt,
    "answer": lambda place, prompt, value: place >= prompt - 1,
    "all": lambda place, prompt, value: place >= 0,
    "first": lambda place, prompt, value: (place < prompt) & (place < value),
}
# Positions that leave every token before the last one of the prompt as it is.
BEHIND_PROMPT = ("last", "answer")


@dataclass(frozen=True)
class Edit:
    """One change of a forward pass.

    site: "residual" (the residual stream after a block), "heads" (the outputs of attention heads before W_O) or
        "logits".
    operation: a key of `OPERATIONS`. positions: a key of `POSITIONS`.
    values: {layer: value}. Of the residual stream [width], or [tokens, width] for the positions "first", a row per
        token from the first one on (rows behind the prompt are left out); of heads [heads, head_dim], all of which are
        edited; of logits one entry [vocabulary], whatever its key.
    """

    site: str
    operation: str
    positions: str
    values: Mapping[int, Tensor]

    @property
    def begin(self) -> int:
        """The block at whose input the edited states first differ from the unedited ones (heads: differ inside)."""
        return min(self.values) + (self.site == "residual")

    def tokens(self, places: Tensor, prompt: int | Tensor) -> Tensor:
        """[tokens] bool, which tokens are edited. places: [tokens] positions.

        prompt: number of tokens of the prompt; [tokens] where tokens belong to different prompts.
        """
        return POSITIONS[self.positions](places, prompt, len(next(iter(self.values.values()))))

    def apply(self, layer: int, states: Tensor, places: Tensor) -> Tensor:
        """The edited `states` [tokens, width] (of heads [tokens, heads, head_dim]) of the edited tokens, in order.

        places: [tokens], each token's position in its prompt.
        """
        value = self.values[layer].to(states)
        if self.positions == "first":
            value = value[places.to(value.device)]
        return OPERATIONS[self.operation](states, value[..., : states.shape[-1]])


@dataclass
class OperationRows(ResidualRows):
    """Rows whose last-token state after a block is changed by any operation of `OPERATIONS`."""

    operation: str = "add"

    def states(self, layer: int, last: Tensor, part: slice) -> Tensor:
        """[prompts, rows, width], see `ResidualRows.states`."""
        vectors = self._placed.on(last.device, last.dtype)
        if vectors.dim() > 2:
            vectors = vectors[..., layer - 1, :, :]
        vectors = vectors[..., part, :]
        states = last[:, None].expand(-1, vectors.shape[-2], -1)
        return OPERATIONS[self.operation](states, vectors)
