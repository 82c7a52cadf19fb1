"""The passes of edits: each edit is a batch element of its own, which joins at the block of its lowest layer."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from offcourse.engine.attention import PassState, running
from offcourse.engine.edits import Edit
from offcourse.engine.forest import Forest
from offcourse.engine.placed import Placed, on_device
from offcourse.engine.run import Context, Engine


class _ForEach:
    """Keys or values [kv_heads, tokens, head_dim] of a kept beginning, repeated for the elements of a pass."""

    def __init__(self, kept: Tensor, owner: "EditPass"):
        self.kept, self.owner = kept, owner

    def __getitem__(self, axis: None) -> Tensor:
        return self.kept[None].expand(self.owner.count, -1, -1, -1)


class EditPass:
    """The passes of a forest (a prompt and its answers, or several prompts apart) under some edits.

    Element 0 of the first pass is not edited. An edit joins as a copy of this element, so the blocks below the edit run
    once for all edits. Later passes begin at the block where their first edit joins.
    forest: the tokens behind the context. prompt: number of tokens of the prompt, with the context; of several prompts
        [tokens of the forest], for each token the number of its prompt.
    edits: in any order; none of them of logits.
    context: a kept beginning of the prompt, which no edit changes.
    """

    def __init__(self, engine: Engine, forest: Forest, prompt: int | Tensor, edits: Sequence[Edit], context: Context):
        self.engine, self.model, self.forest, self.edits = engine, engine.model, forest, edits
        self.context = context
        self.places = forest.depth + len(context.tokens)
        chosen = [self.chosen_tokens(edit, prompt).nonzero()[:, 0] for edit in edits]
        self.chosen = [Placed(tokens) for tokens in chosen]
        self.chosen_places = [Placed(self.places[tokens]) for tokens in chosen]
        # Element 0's states at the input of blocks where edits of later passes join.
        self.inputs: dict[int, Tensor] = {}
        self.joining: list[int] = []
        self.joined: list[int] = []
        # Whether element 0 is the unedited one, and the block at whose input it leaves the pass.
        self.whole, self.leaves = True, -1
        # Elements in the running pass, and whether it has come to the last block.
        self.count, self.reached = 1, False

    def chosen_tokens(self, edit: Edit, prompt: int | Tensor) -> Tensor:
        """[tokens] bool, which tokens of the forest an edit changes."""
        return edit.tokens(self.places, prompt)

    def states(self, unedited: bool = True) -> Tensor:
        """[1 + edits, tokens, width] final-normed states, without an edit and under each edit.

        unedited: False leaves the first element out, so the blocks above the last edit do not run for it.
        """
        order = sorted(range(len(self.edits)), key=lambda index: self.edits[index].begin)
        at_once = max(1, self.engine.max_tokens // len(self.forest))
        chunks = [order[start : start + at_once] for start in range(0, len(order), at_once)] or [[]]
        needed = {self.edits[index].begin for chunk in chunks[1:] for index in chunk}
        if not unedited:
            self.leaves = max([*(self.edits[index].begin for index in chunks[0]), *needed])
        states = torch.cat(
            [self._pass(chunks[0], needed, True), *(self._pass(chunk, set(), False) for chunk in chunks[1:])]
        )
        back = [unedited + order.index(index) for index in range(len(order))]
        return states[torch.tensor([0, *back] if unedited else back).to(states.device)]

    def _pass(self, chunk: list[int], needed: set[int], whole: bool) -> Tensor:
        """One pass, with the unedited element if `whole`. needed: blocks whose unedited inputs are kept."""
        self.joining, self.joined, self.whole, self.needed = chunk, [], whole, needed
        self.count, self.reached = 1, False
        model = self.model
        begin = 0 if whole else self.edits[chunk[0]].begin
        kept = {
            layer: tuple(_ForEach(part, self) for part in parts)
            for layer, parts in (self.context.kept if self.context.tokens else {}).items()
        }
        state = PassState(
            len(self.forest),
            ancestors=self.forest.ancestors,
            depth=self.places,
            explicit=self.engine.explicit,
            context=kept or None,
        )
        with ExitStack() as stack, running(state):
            stack.enter_context(model.skipping_blocks(begin))
            for layer in range(begin, model.layers):
                hook = self._at_block(layer)
                stack.callback(model.blocks[layer].register_forward_pre_hook(hook).remove)
            stack.callback(model.blocks[-1].register_forward_pre_hook(self._reach).remove)
            stack.callback(model.norm.register_forward_pre_hook(self._at_norm).remove)
            of_heads = [self.edits[index] for index in chunk if self.edits[index].site == "heads"]
            for layer in {layer for edit in of_heads for layer in edit.values}:
                hook = self._in_heads(layer)
                stack.callback(model.projections[layer].register_forward_pre_hook(hook).remove)
            device = model.input_device
            return model.forward(on_device(self.forest.tokens[None], device), on_device(self.places[None], device))

    def _enter(self, layer: int, hidden: Tensor) -> Tensor:
        """`hidden` [elements, tokens, width] at the input of block `layer`, after edits there and with new elements."""
        if self.whole:
            unedited = hidden[0]
            if layer in self.needed:
                self.inputs[layer] = unedited.clone()
        else:
            unedited = self.inputs[layer].to(hidden.device) if layer in self.inputs else None
            if not self.joined:
                hidden = hidden[:0]
        again = [index for index in self.joined if self._streams(index, layer)]
        if again:
            hidden = hidden.clone()
            for index in again:
                element = self._element(index)
                hidden[element] = self._edited(index, layer - 1, hidden[element])
        new = [index for index in self.joining if self.edits[index].begin == layer]
        if new:
            added = [
                self._edited(index, layer - 1, unedited) if self._streams(index, layer) else unedited for index in new
            ]
            hidden = torch.cat([hidden, torch.stack(added)])
            self.joined += new
        if self.whole and layer == self.leaves:
            hidden, self.whole = hidden[1:], False
        self.count = len(hidden)
        return hidden

    def _element(self, index: int) -> int:
        return self.whole + self.joined.index(index)

    def _streams(self, index: int, layer: int) -> bool:
        """Whether an edit changes the residual stream at the input of block `layer`."""
        return self.edits[index].site == "residual" and layer - 1 in self.edits[index].values

    def _edited(self, index: int, layer: int, states: Tensor) -> Tensor:
        """`states` [tokens, ...] of one element, with the edit of `layer` at the edited tokens."""
        states = states.clone()
        at = self.chosen[index].on(states.device)
        states[at] = self.edits[index].apply(layer, states[at], self.chosen_places[index].on(states.device))
        return states

    def _at_block(self, layer: int):
        def hook(module, args):
            return (self._enter(layer, args[0]), *args[1:])

        return hook

    def _reach(self, module, args) -> None:
        self.reached = True

    def _at_norm(self, module, args):
        # NanoChat's final norm also runs before the first block.
        if not self.reached:
            return args
        return (self._enter(self.model.layers, args[0]), *args[1:])

    def _in_heads(self, layer: int):
        def hook(module, args):
            heads = args[0].unflatten(-1, (self.model.heads, -1)).clone()
            for index in self.joined:
                if self.edits[index].site == "heads" and layer in self.edits[index].values:
                    element = self._element(index)
                    heads[element] = self._edited(index, layer, heads[element])
            return (heads.flatten(-2), *args[1:])

        return hook
