"""Passes through a model: read-outs of prompts, captured head outputs, and rows of edits.

A pass runs the model's own forward with the engine's attention. Hooks on the blocks let each row (edited last token)
join at the block of its edit, so that no row is computed below its edit. The model's code, accelerate's placement and
each class's norms, biases and caps stay unchanged.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from offcourse.engine import unembed
from offcourse.engine.attention import PassState, install, running
from offcourse.engine.forest import Forest, forests, shared_beginning
from offcourse.engine.halving import halving
from offcourse.engine.placed import Placed
from offcourse.engine.rows import HeadRows, Piece, Rows, split
from offcourse.models.budgets import CPU_ROWS, CPU_TOKENS, GPU_ROWS, GPU_TOKENS
from offcourse.models.load import LanguageModel


@dataclass(frozen=True)
class Context:
    """A beginning that many prompts share. kept: {layer: (keys, values)}, each [kv_heads, tokens, head_dim]."""

    tokens: tuple[int, ...]
    kept: dict[int, tuple[Tensor, Tensor]]

    def followed_by(self, tokens: tuple[int, ...], kept: dict[int, tuple[Tensor, Tensor]]) -> "Context":
        """The context of this beginning and `tokens` after it. kept: {layer: (keys, values)} of `tokens`."""
        joined = {
            layer: tuple(torch.cat([old, new], 1) for old, new in zip(self.kept[layer], parts, strict=True))
            for layer, parts in kept.items()
            if self.tokens
        }
        return Context(self.tokens + tokens, joined or kept)


@dataclass(frozen=True)
class States:
    """Residual streams at requested positions; prompts that share a beginning share the states of that beginning.

    prompts: slice of the list of prompts.
    where: per prompt, the index into the tensors below of each of its positions.
    hidden: {layer: input of the block}, [states, width] each.
    final: [states, width], after the final norm.
    """

    prompts: slice
    where: list[list[int]]
    hidden: dict[int, Tensor]
    final: Tensor


@dataclass(frozen=True)
class Readings:
    """Streams and sub-layer outputs at the last position of each prompt, per block: [prompts, width] each.

    hidden: the block's input. attention: output of the attention output projection. mlp: output of the feed-forward
    network's last projection. Both outputs are taken before any norm that follows. final: state after the final norm.
    """

    prompts: slice
    hidden: dict[int, Tensor]
    attention: dict[int, Tensor]
    mlp: dict[int, Tensor]
    final: Tensor


class Engine:
    """Runs prompts and edits on one loaded model.

    max_rows: most rows, and about the most tokens of a forest, that go through the model at once. "auto": by device
    (on a CPU, fewer tokens than rows). max_rows bounds the memory of a pass, whatever the size of the grid.
    attention: how prompt tokens attend to each other, "eager" (explicit products) or "sdpa" (fused); "auto" is "sdpa".
    """

    def __init__(self, model: LanguageModel, max_rows: int | str = "auto", attention: str = "auto"):
        install(model)
        self.explicit = attention == "eager"
        self.model = model
        on_cpu = model.input_device.type == "cpu"
        auto = max_rows == "auto"
        self.max_rows = (CPU_ROWS if on_cpu else GPU_ROWS) if auto else int(max_rows)
        self.max_tokens = (CPU_TOKENS if on_cpu else GPU_TOKENS) if auto else int(max_rows)

    @halving
    @torch.inference_mode()
    def read(self, prompts: Sequence[Sequence[int]], targets: Sequence[int]) -> unembed.Readout:
        """Probability and rank of one target token after each prompt; shared beginnings are computed once."""
        states = [self._forest_states(forest, _ends(forest)) for _, forest in self._cut(prompts)]
        return self._unembed(torch.cat(states), torch.as_tensor(list(targets)), probability=True)

    @torch.inference_mode()
    def capture_heads(self, prompts: Sequence[Sequence[int]], positions: Sequence[int]) -> Tensor:
        """Head outputs at one position of each prompt: [prompts, layers, heads, head_dim] float32, on the CPU.

        A head's output is its slice of the input of the attention output projection (before W_O).
        """
        found = self._capture(prompts, positions, self.model.projections)
        return found.view(*found.shape[:2], self.model.heads, self.model.head_dim)

    @torch.inference_mode()
    def capture_residuals(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Residual stream after every block at the last token: [prompts, layers, width] float32, on the CPU."""
        readers = [*self.model.blocks[1:], self.model.norm]
        return self._capture(prompts, [len(prompt) - 1 for prompt in prompts], readers)

    @halving
    @torch.inference_mode()
    def predict(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """The most likely token after each prompt: [prompts] ids."""
        states = [self._forest_states(forest, _ends(forest)) for _, forest in self._cut(prompts)]
        return unembed.predict(self.model.head, torch.cat(states))

    @halving
    @torch.inference_mode()
    def predict_rows(self, prompt: Sequence[int], rows: Rows) -> Tensor:
        """The most likely token after the unedited prompt and after every row, in layer order: [1 + rows] ids."""
        return unembed.predict(self.model.head, self.row_states(prompt, rows))

    @halving
    @torch.inference_mode()
    def read_rows(
        self,
        prompt: Sequence[int],
        target: int,
        rows: Rows,
        probability: bool = True,
        without_output_bias: int | None = None,
    ) -> tuple[unembed.Readout, unembed.Readout]:
        """Read-outs of the unedited prompt (one state) and of every row, in layer order.

        without_output_bias: a layer whose attention output projection runs without its bias, for all positions (as the
        study's code patched heads); None leaves every bias where it is.
        """
        if without_output_bias is not None:
            bare = self.model.projections[without_output_bias]
            if bare.bias is None:
                without_output_bias = None
        with self._bias_dropped(without_output_bias):
            states = self.row_states(prompt, rows)
        targets = torch.full((len(states),), int(target))
        out = self._unembed(states, targets, probability)
        return out[:1], out[1:]

    @torch.inference_mode()
    def keep(self, tokens: Sequence[int], context: Context | None = None) -> Context:
        """Run the beginning `tokens` once, at most `max_tokens` tokens a pass, and keep its keys and values.

        context: the kept context that precedes `tokens`; the returned context then covers both.
        """
        context = context or Context((), {})
        for start in range(0, len(tokens), self.max_tokens):
            part, before = tuple(tokens[start : start + self.max_tokens]), len(context.tokens)
            state = PassState(len(part), explicit=self.explicit, keep=len(part), context=context.kept)
            with running(state):
                self.model.forward(torch.tensor(part), torch.arange(before, before + len(part)))
            context = context.followed_by(part, state.kept)
        return context

    def states(
        self,
        prompts: Sequence[Sequence[int]],
        positions: Sequence[Sequence[int]],
        layers: Sequence[int],
        context: Context | None = None,
    ) -> Iterator[States]:
        """Residual streams at some positions of each prompt, from one pass per forest of prompts.

        context: a beginning of all prompts that was run before. Prompts are given whole, and positions must lie after
        the context. If the prompts do not fit into one forest, a longer beginning that all share is run once and kept.
        """
        context = context or Context((), {})
        parts = self._cut_behind(prompts, context)
        if len(parts) > 1:
            # Without a kept beginning, every forest would compute the shared tokens again.
            shared = shared_beginning(prompts, min(min(places) for places in positions))
            context = self.keep(prompts[0][len(context.tokens) : shared], context)
            parts = self._cut_behind(prompts, context)
        begin = len(context.tokens)
        for part, forest in parts:
            paths = [
                [path[position - begin] for position in places]
                for path, places in zip(forest.where, positions[part], strict=True)
            ]
            nodes = sorted({node for path in paths for node in path})
            row = {node: index for index, node in enumerate(nodes)}
            places = Placed(torch.tensor(nodes))
            hidden: dict[int, Tensor] = {}
            with torch.inference_mode(), ExitStack() as stack:
                for layer in layers:

                    def capture(module, args, layer=layer, hidden=hidden, places=places):
                        hidden[layer] = args[0][0, places.on(args[0].device)]

                    stack.callback(self.model.blocks[layer].register_forward_pre_hook(capture).remove)
                final = self._forest_states(forest, places, context)
            yield States(part, [[row[node] for node in path] for path in paths], hidden, final)

    def readings(self, prompts: Sequence[Sequence[int]]) -> Iterator[Readings]:
        """The residual stream and both sub-layers' outputs at the last position, from one pass per forest."""
        model = self.model
        for part, forest in self._cut(prompts):
            nodes = _ends(forest)
            seen = Readings(part, {}, {}, {}, torch.empty(0))
            with torch.inference_mode(), ExitStack() as stack:
                for layer, block in enumerate(model.blocks):

                    def before(module, args, layer=layer, nodes=nodes, seen=seen):
                        seen.hidden[layer] = args[0][0, nodes.on(args[0].device)]

                    stack.callback(block.register_forward_pre_hook(before).remove)
                    for into, name in (
                        (seen.attention, model.architecture.attention_output),
                        (seen.mlp, model.architecture.mlp_output),
                    ):

                        def after(module, args, out, layer=layer, nodes=nodes, into=into):
                            # Some classes flatten the batch axis on the way through the feed-forward network.
                            into[layer] = out.reshape(-1, out.shape[-1])[nodes.on(out.device)]

                        stack.callback(block.get_submodule(name).register_forward_hook(after).remove)
                final = self._forest_states(forest, nodes)
            yield Readings(part, seen.hidden, seen.attention, seen.mlp, final)

    @halving
    def _capture(self, prompts, positions: Sequence[int], modules) -> Tensor:
        """The first argument of each module at one position of each prompt: [prompts, modules, width] float32."""
        out = []
        for part, forest in self._cut(prompts):
            nodes = [path[position] for path, position in zip(forest.where, positions[part], strict=True)]
            nodes = Placed(torch.tensor(nodes))
            captured: list[Tensor] = []

            def capture(module, args, nodes=nodes, captured=captured):
                captured.append(args[0][0, nodes.on(args[0].device)].float())

            with ExitStack() as stack:
                for module in modules:
                    stack.callback(module.register_forward_pre_hook(capture).remove)
                self._forest_states(forest, nodes)
            out.append(torch.stack([states.cpu() for states in captured], 1))
        return torch.cat(out)

    def row_states(self, prompt: Sequence[int], rows: Rows) -> Tensor:
        """Final-normed states [1 + rows, width] of the unedited prompt and of every row."""
        chunks = split(rows, self.model.layers, self.max_rows)
        run = _PromptPass(self.model, list(prompt), rows, keep=len(chunks) > 1, explicit=self.explicit)
        return torch.cat([run.first(chunks[0]), *(run.later(chunk) for chunk in chunks[1:])])

    def _cut(self, prompts):
        return forests(prompts, self.max_tokens)

    def _cut_behind(self, prompts, context: Context) -> list[tuple[slice, Forest]]:
        return list(self._cut([prompt[len(context.tokens) :] for prompt in prompts]))

    def _unembed(self, states: Tensor, targets: Tensor, probability: bool) -> unembed.Readout:
        return unembed.read(self.model.head, states, targets, self.model.final_softcap, probability)

    def _forest_states(self, forest: Forest, nodes: Placed, context: Context | None = None) -> Tensor:
        """Final-normed states [len(nodes), width] of some tokens of a forest."""
        before = len(context.tokens) if context else 0
        state = PassState(
            len(forest),
            ancestors=forest.ancestors,
            depth=forest.depth + before,
            explicit=self.explicit,
            context=context.kept if context else None,
        )
        with running(state):
            states = self.model.forward(forest.tokens, state.depth)[0]
            return states[nodes.on(states.device)]

    @contextmanager
    def _bias_dropped(self, layer: int | None):
        if layer is None:
            yield
            return
        projection = self.model.projections[layer]
        handle = projection.register_forward_hook(lambda module, args, out: out - module.bias)
        try:
            yield
        finally:
            handle.remove()


def _ends(forest: Forest) -> Placed:
    """The node of every prompt's last token."""
    return Placed(torch.tensor([path[-1] for path in forest.where]))


class _PromptPass:
    """The passes of one prompt and its rows: the first pass with the prompt's tokens, later passes with rows alone.

    keep: whether later passes follow; they need the prompt's keys, values and last-token states.
    """

    def __init__(self, model: LanguageModel, prompt: list[int], rows: Rows, keep: bool, explicit: bool):
        self.model, self.prompt, self.rows, self.keep, self.explicit = model, prompt, rows, keep, explicit
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}
        self.last: dict[int, Tensor] = {}
        self.pieces: list[Piece] = []
        self.joined = 0

    def first(self, pieces: list[Piece]) -> Tensor:
        """Run the prompt with its first rows; [1 + rows, width] final-normed states, the prompt's own first."""
        length = len(self.prompt)
        # A row is another version of the prompt's last token, so rows attend to the prompt without its last token.
        state = PassState(length, explicit=self.explicit, keep=length - 1 if self.keep else None, kept=self.kept)
        out = self._forward(state, pieces, torch.tensor(self.prompt), torch.arange(length))
        return out[0, length - 1 :].clone()

    def later(self, pieces: list[Piece]) -> Tensor:
        """Run rows alone against the kept prefix; [rows, width] final-normed states.

        The blocks below the first row's block are skipped.
        """
        state = PassState(0, kept=self.kept)
        begin = pieces[0].layer
        with self.model.skipping_blocks(begin):
            # A placeholder token carries the pass to the first block with a row, where the rows take its place.
            position = torch.tensor([len(self.prompt) - 1])
            return self._forward(state, pieces, torch.tensor(self.prompt[-1:]), position)[0]

    def _forward(self, state: PassState, pieces: list[Piece], tokens: Tensor, positions: Tensor) -> Tensor:
        self.pieces, self.joined = pieces, 0
        model = self.model
        begin = pieces[0].layer if state.lead == 0 else 0
        with ExitStack() as stack, running(state):
            for layer in range(begin, model.layers):
                hook = self._join_block(layer, state)
                stack.callback(model.blocks[layer].register_forward_pre_hook(hook, with_kwargs=True).remove)
            hook = self._join_norm(state)
            stack.callback(model.norm.register_forward_pre_hook(hook).remove)
            if isinstance(self.rows, HeadRows):
                for layer in {piece.layer for piece in pieces}:
                    edit = self._edit_heads(layer)
                    stack.callback(model.projections[layer].register_forward_pre_hook(edit).remove)
            return model.forward(tokens, positions)

    def _join(self, layer: int, hidden: Tensor, state: PassState) -> Tensor:
        """Append the rows that begin here to `hidden` [1, sequence, width]."""
        if state.lead:
            last = hidden[0, state.lead - 1]
            if self.keep:
                self.last[layer] = last.clone()
        else:
            last = self.last[layer].to(hidden.device) if layer in self.last else None
            if self.joined == 0:
                hidden = hidden[:, :0]
        new = [self.rows.states(layer, last, piece.part) for piece in self.pieces if piece.layer == layer]
        if not new:
            return hidden
        self.joined += sum(len(states) for states in new)
        return torch.cat([hidden, torch.cat(new)[None]], 1)

    def _join_block(self, layer: int, state: PassState):
        def hook(module, args, kwargs):
            hidden = self._join(layer, args[0], state)
            kwargs = dict(kwargs)
            # A row has the position of the prompt's last token: repeat that position for every row.
            for key in ("position_ids", "position_embeddings"):
                if kwargs.get(key) is not None:
                    kwargs[key] = _repeat_last(kwargs[key], hidden.shape[1])
            return (hidden, *args[1:]), kwargs

        return hook

    def _join_norm(self, state: PassState):
        return lambda module, args: (self._join(self.model.layers, args[0], state), *args[1:])

    def _edit_heads(self, layer: int):
        def hook(module, args):
            pieces = [piece for piece in self.pieces if piece.layer == layer]
            # The rows of this layer were the last to join, hence the last on the sequence axis.
            heads = args[0].clone()
            stop = heads.shape[1]
            for piece in reversed(pieces):
                mine = heads[0, stop - len(piece) : stop].view(len(piece), self.model.heads, self.model.head_dim)
                self.rows.edit_heads(layer, mine, piece.part)
                stop -= len(piece)
            return (heads, *args[1:])

        return hook


def _repeat_last(value, length: int):
    """Stretch the sequence axis (dimension 1) to `length` by repeating its last entry; tuples element by element."""
    if isinstance(value, tuple):
        return tuple(_repeat_last(part, length) for part in value)
    missing = length - value.shape[1]
    if missing <= 0:
        return value[:, :length]
    return torch.cat([value, value[:, -1:].expand(-1, missing, *value.shape[2:])], 1)
