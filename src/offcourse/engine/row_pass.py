"""The passes of prompts and their rows: the first with the prompts' tokens, later ones with rows alone."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from offcourse.engine.attention import PassState, running
from offcourse.engine.placed import Placed, on_device
from offcourse.engine.rows import HeadRows, Piece, Rows
from offcourse.models.load import LanguageModel


class RowPass:
    """The passes of some prompts and their rows: the first pass with the prompts' tokens, later passes with rows alone.

    keep: whether later passes follow; they need a prompt's keys, values and last-token states. Only one prompt can have
    later passes.
    """

    def __init__(self, model: LanguageModel, prompts: Sequence[Sequence[int]], rows: Rows, keep: bool, explicit: bool):
        self.model, self.rows, self.keep, self.explicit = model, rows, keep, explicit
        lengths = [len(prompt) for prompt in prompts]
        self.lead = max(lengths)
        self.lengths = torch.tensor(lengths) if min(lengths) < self.lead else None
        # Behind its last token a prompt is filled up with the first word; nothing attends to that.
        self.tokens = torch.tensor([[*prompt] + [0] * (self.lead - len(prompt)) for prompt in prompts])
        self.ends = Placed(torch.tensor(lengths) - 1)
        self.each = Placed(torch.arange(len(prompts)))
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}
        self.last: dict[int, Tensor] = {}
        self.pieces: list[Piece] = []
        self.joined = 0
        # Whether the pass has come to the last block.
        self.reached = False

    def first(self, pieces: list[Piece]) -> Tensor:
        """Run the prompts with their first rows; [prompts, 1 + rows, width] final-normed states, the prompt's first."""
        lead = self.lead
        # A row is another version of the prompt's last token, so rows attend to the prompt without its last token.
        keep = lead - 1 if self.keep else None
        state = PassState(lead, self.lengths, explicit=self.explicit, keep=keep, kept=self.kept)
        out = self._forward(state, pieces, self.tokens, torch.arange(lead).expand_as(self.tokens))
        return torch.cat([self._ends(out)[:, None], out[:, lead:]], 1)

    def later(self, pieces: list[Piece]) -> Tensor:
        """Run rows alone against the kept prefix; [1, rows, width] final-normed states.

        The blocks below the first row's block are skipped.
        """
        state = PassState(0, kept=self.kept)
        begin = pieces[0].layer
        with self.model.skipping_blocks(begin):
            # A placeholder token carries the pass to the first block with a row, where the rows take its place.
            return self._forward(state, pieces, self.tokens[:, -1:], torch.tensor([[self.lead - 1]]))

    def _ends(self, sequence: Tensor) -> Tensor:
        """[prompts, ...]: what `sequence` [prompts, tokens, ...] holds for the last token of each prompt."""
        if self.lengths is None:
            return sequence[:, self.lead - 1]
        return sequence[self.each.on(sequence.device), self.ends.on(sequence.device)]

    def _forward(self, state: PassState, pieces: list[Piece], tokens: Tensor, positions: Tensor) -> Tensor:
        self.pieces, self.joined, self.reached = pieces, 0, False
        model = self.model
        begin = pieces[0].layer if state.lead == 0 else 0
        with ExitStack() as stack, running(state):
            for layer in range(begin, model.layers):
                hook = self._join_block(layer, state)
                stack.callback(model.blocks[layer].register_forward_pre_hook(hook, with_kwargs=True).remove)
            stack.callback(model.blocks[-1].register_forward_pre_hook(self._reach).remove)
            hook = self._join_norm(state)
            stack.callback(model.norm.register_forward_pre_hook(hook).remove)
            if isinstance(self.rows, HeadRows):
                for layer in {piece.layer for piece in pieces}:
                    edit = self._edit_heads(layer)
                    stack.callback(model.projections[layer].register_forward_pre_hook(edit).remove)
            device = model.input_device
            return model.forward(on_device(tokens, device), on_device(positions, device))

    def _join(self, layer: int, hidden: Tensor, state: PassState) -> Tensor:
        """Append the rows that begin here to `hidden` [prompts, sequence, width]."""
        if state.lead:
            last = self._ends(hidden)
            if self.keep:
                self.last[layer] = last.clone()
        else:
            last = self.last[layer].to(hidden.device) if layer in self.last else None
            if self.joined == 0:
                hidden = hidden[:, :0]
        new = [self.rows.states(layer, last, piece.part) for piece in self.pieces if piece.layer == layer]
        if not new:
            return hidden
        self.joined += sum(states.shape[1] for states in new)
        return torch.cat([hidden, *new], 1)

    def _join_block(self, layer: int, state: PassState):
        def hook(module, args, kwargs):
            hidden = self._join(layer, args[0], state)
            kwargs = dict(kwargs)
            # A row has the position of its prompt's last token: repeat that position for every row.
            for key in ("position_ids", "position_embeddings"):
                if kwargs.get(key) is not None:
                    kwargs[key] = self._with_rows(kwargs[key], hidden.shape[1], state.lead or 1)
            if isinstance(scaling := kwargs.get("attention_scaling"), Tensor):
                # A factor per token of the queries (BEAM): [1 or prompts, 1, sequence, 1].
                stretched = self._with_rows(scaling.transpose(1, 2), hidden.shape[1], state.lead or 1)
                kwargs["attention_scaling"] = stretched.transpose(1, 2)
            return (hidden, *(self._stretched(arg, state.lead or 1, hidden.shape[1]) for arg in args[1:])), kwargs

        return hook

    def _with_rows(self, value, length: int, lead: int):
        """The positions of `lead` tokens, and that of each prompt's last token for every row; tuples part by part.

        value: [prompts, sequence, ...], or one row of positions for all prompts.
        """
        if isinstance(value, tuple):
            return tuple(self._with_rows(part, length, lead) for part in value)
        value = value[:, :lead]
        if length <= lead:
            return value[:, :length]
        if self.lengths is None:
            last = value[:, -1:]
        else:
            value = value.expand(len(self.lengths), *value.shape[1:])
            last = self._ends(value)[:, None]
        return torch.cat([value, last.expand(-1, length - lead, *value.shape[2:])], 1)

    def _stretched(self, arg, tokens: int, length: int):
        """A positional argument of a block; one that has an entry per token of the pass gets entries for the rows."""
        per_token = isinstance(arg, Tensor) and arg.dim() > 2 and arg.shape[1] == tokens
        if per_token and arg.shape[0] in (1, len(self.tokens)):
            return self._with_rows(arg, length, tokens)
        return arg

    def _reach(self, module, args):
        self.reached = True

    def _join_norm(self, state: PassState):
        def hook(module, args):
            # NanoChat's final norm also runs before the first block, on the tokens of the pass.
            if not self.reached:
                return args
            return (self._join(self.model.layers, args[0], state), *args[1:])

        return hook

    def _edit_heads(self, layer: int):
        def hook(module, args):
            pieces = [piece for piece in self.pieces if piece.layer == layer]
            # The rows of this layer were the last to join, hence the last on the sequence axis.
            heads = args[0].clone()
            stop = heads.shape[1]
            for piece in reversed(pieces):
                mine = heads[:, stop - len(piece) : stop].unflatten(-1, (self.model.heads, -1))
                self.rows.edit_heads(layer, mine, piece.part)
                stop -= len(piece)
            return (heads, *args[1:])

        return hook
